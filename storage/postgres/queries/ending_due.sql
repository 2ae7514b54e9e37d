SELECT session_id, attempts FROM gateway.session_ending WHERE due_at <= $1 ORDER BY due_at, session_id LIMIT $2
