SELECT session_id FROM gateway.session_kept WHERE session_id = ANY ($1::text[])
