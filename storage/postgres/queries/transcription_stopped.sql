SELECT true FROM gateway.transcription WHERE id = $1 AND fence = $2 AND state = 'STOPPED'
