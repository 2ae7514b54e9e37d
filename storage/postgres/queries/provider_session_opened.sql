INSERT INTO gateway.provider_session (id, transcription_id, session_id, identity, opened_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO NOTHING
