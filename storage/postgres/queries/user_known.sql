INSERT INTO gateway.known_user (user_id) VALUES ($1) ON CONFLICT DO NOTHING
