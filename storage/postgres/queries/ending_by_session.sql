SELECT session_id, attempts FROM gateway.session_ending WHERE session_id = $1
