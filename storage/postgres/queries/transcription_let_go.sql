-- What a run held that is lost, for whoever comes first.
UPDATE gateway.transcription SET owner_run = NULL, lease_until = to_timestamp(1)
WHERE id IN (SELECT id FROM gateway.transcription WHERE owner = $1 AND owner_run = $2 AND state <> 'STOPPED'
             FOR NO KEY UPDATE SKIP LOCKED)
