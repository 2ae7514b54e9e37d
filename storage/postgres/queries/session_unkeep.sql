DELETE FROM gateway.session_kept WHERE session_id = $1
