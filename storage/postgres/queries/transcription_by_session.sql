{transcription_joined}
WHERE t.session_id = $1
ORDER BY t.started_at DESC, t.id DESC LIMIT 1
