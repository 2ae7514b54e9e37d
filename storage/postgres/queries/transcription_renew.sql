UPDATE gateway.transcription SET lease_until = $4
WHERE id = $1 AND owner = $2 AND fence = $3 AND state <> 'STOPPED'
