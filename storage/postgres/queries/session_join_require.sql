INSERT INTO gateway.session_join (session_id, token_sha256) VALUES ($1, $2)
ON CONFLICT (session_id) DO UPDATE SET token_sha256 = excluded.token_sha256
