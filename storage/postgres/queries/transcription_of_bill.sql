-- Held, so that of two bills stored at once the later one sees the other.
SELECT t.id FROM gateway.transcription t
WHERE t.id = (SELECT p.transcription_id FROM gateway.provider_session p WHERE p.id = $1) FOR NO KEY UPDATE
