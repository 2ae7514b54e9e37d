SELECT pg_advisory_xact_lock(hashtextextended('provider_place ' || $1, 0))
