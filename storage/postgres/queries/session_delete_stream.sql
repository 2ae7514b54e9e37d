DELETE FROM gateway.stream WHERE session_id = $1
