UPDATE gateway.transcription SET options = $3 WHERE id = $1 AND fence = $2 AND state <> 'STOPPED'
