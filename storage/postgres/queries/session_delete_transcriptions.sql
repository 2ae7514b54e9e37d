DELETE FROM gateway.transcription WHERE session_id = $1
