INSERT INTO gateway.session_join (session_id, token_sha256) VALUES ($1, $2)
