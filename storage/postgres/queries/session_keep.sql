INSERT INTO gateway.session_kept (session_id) VALUES ($1) ON CONFLICT DO NOTHING
