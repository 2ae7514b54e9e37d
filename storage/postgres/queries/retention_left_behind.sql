-- What is ours of sessions that the app has deleted by itself.
SELECT s.session_id
FROM gateway.stream s
WHERE s.origin < $1
  AND NOT EXISTS (SELECT FROM app."VideoSession" v WHERE v.id = s.session_id)
  AND NOT EXISTS (SELECT FROM gateway.transcription t WHERE t.session_id = s.session_id AND t.state <> 'STOPPED')
LIMIT $2
