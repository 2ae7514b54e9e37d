-- Of two replicas that refuse a start of a session at the same time, one tells it.
SELECT pg_advisory_xact_lock(hashtextextended($1, 7247343))
