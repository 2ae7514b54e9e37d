{transcription_joined}
WHERE t.session_id = $1 AND t.state <> 'STOPPED'
