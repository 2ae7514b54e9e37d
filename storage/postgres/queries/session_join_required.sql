SELECT session_id, made_at FROM gateway.session_join WHERE session_id = ANY ($1::text[])
