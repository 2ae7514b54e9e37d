SELECT host FROM gateway.transcription WHERE id = $1
