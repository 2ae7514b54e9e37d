-- The heir's from here on, for one lease by the database's clock; then by its own beats. The epoch stays: every final that
-- watchers have seen is stored.
UPDATE gateway.transcription
SET owner = $4, owner_run = $5, fence = fence + 1, lease_until = clock_timestamp() + $6 * interval '1 second'
WHERE id = $1 AND owner = $2 AND fence = $3 AND state <> 'STOPPED'
