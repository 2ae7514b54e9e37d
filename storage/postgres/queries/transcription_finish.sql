UPDATE gateway.transcription
SET state = 'STOPPED', stopped_at = $3, stop_reason = $4, finals_complete = $5
WHERE id = $1 AND fence = $2 AND state <> 'STOPPED'
