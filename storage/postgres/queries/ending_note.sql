INSERT INTO gateway.session_ending (session_id, due_at) VALUES ($1, $2) ON CONFLICT (session_id) DO NOTHING
