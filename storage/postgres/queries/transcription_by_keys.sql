{transcription_joined}
WHERE t.stream_key = any($1::text[]) AND t.state <> 'STOPPED'
ORDER BY t.started_at, t.id LIMIT 2
