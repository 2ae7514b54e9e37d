UPDATE gateway.session_ending SET due_at = $2, attempts = attempts + 1 WHERE session_id = $1
