SELECT data FROM gateway.transcript_event
WHERE session_id = $1
ORDER BY seq DESC LIMIT $2
