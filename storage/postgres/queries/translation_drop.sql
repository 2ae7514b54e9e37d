-- Their finals never came: nobody transcribes the session, no final of it waits for a number, and an hour has passed.
DELETE FROM gateway.translation t
WHERE t.seq IS NULL AND t.created_at < $1
  AND NOT EXISTS (SELECT FROM gateway.transcription r WHERE r.session_id = t.session_id AND r.state <> 'STOPPED')
  AND NOT EXISTS (SELECT FROM gateway.stray_final s WHERE s.session_id = t.session_id)
