{usage_joined}
WHERE m.transcription_id = $1
ORDER BY u."startedAt", u.id
