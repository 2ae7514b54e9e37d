{transcription_joined}
WHERE t.state <> 'STOPPED' OR NOT $1
ORDER BY t.started_at DESC, t.id DESC LIMIT $2
