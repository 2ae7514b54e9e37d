UPDATE gateway.transcription SET state = $3 WHERE id = $1 AND fence = $2 AND state <> 'STOPPED'
