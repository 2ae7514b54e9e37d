SELECT key FROM gateway.document WHERE session_id = $1 AND place = $2 AND NOT removing AND ready_at IS NOT NULL
