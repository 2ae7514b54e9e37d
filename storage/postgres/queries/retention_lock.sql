-- One replica at a time, also behind a transaction pooler: the lock ends with the transaction.
SELECT pg_try_advisory_xact_lock(7247341)
