SELECT session_id FROM gateway.session_join WHERE session_id = ANY ($1::text[])
