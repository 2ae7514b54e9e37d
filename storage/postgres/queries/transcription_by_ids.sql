{transcription_joined}
WHERE t.id = any($1::text[])
ORDER BY t.started_at, t.id
