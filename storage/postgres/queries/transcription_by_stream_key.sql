{transcription_joined}
WHERE t.stream_key = $1
