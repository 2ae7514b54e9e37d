INSERT INTO gateway.session_join (session_id, token_sha256, made_at) VALUES ($1, $2, $3)
ON CONFLICT (session_id) DO UPDATE SET token_sha256 = excluded.token_sha256, made_at = excluded.made_at
