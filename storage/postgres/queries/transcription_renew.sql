-- For those who do not look at the replicas. A row under which somebody is writing is left to the next round.
UPDATE gateway.transcription SET lease_until = clock_timestamp() + $3 * interval '1 second'
WHERE id IN (SELECT id FROM gateway.transcription
             WHERE owner = $1 AND owner_run IS NOT DISTINCT FROM $2 AND state <> 'STOPPED'
             FOR NO KEY UPDATE SKIP LOCKED)
