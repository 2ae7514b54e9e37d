-- The beginning of time says that every final that watchers have seen is stored.
UPDATE gateway.transcription SET owner_run = NULL, lease_until = to_timestamp(0)
WHERE id = $1 AND owner = $2 AND fence = $3 AND state <> 'STOPPED'
