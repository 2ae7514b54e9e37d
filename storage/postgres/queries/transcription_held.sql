{transcription_joined}
WHERE t.owner = $1 AND t.state <> 'STOPPED'
ORDER BY t.started_at, t.id
