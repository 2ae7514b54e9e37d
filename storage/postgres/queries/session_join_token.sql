SELECT token_sha256 FROM gateway.session_join WHERE session_id = $1
