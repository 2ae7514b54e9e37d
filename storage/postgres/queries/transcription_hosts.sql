SELECT id, host FROM gateway.transcription WHERE id = ANY($1::text[])
