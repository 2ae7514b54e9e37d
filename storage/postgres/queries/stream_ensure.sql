INSERT INTO gateway.stream (session_id, epoch, origin) VALUES ($1, $2, $3) ON CONFLICT (session_id) DO NOTHING
