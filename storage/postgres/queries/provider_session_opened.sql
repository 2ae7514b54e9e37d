INSERT INTO gateway.provider_session (id, transcription_id, session_id, identity, opened_at, account, process, url)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO NOTHING
