SELECT {provider_session} FROM gateway.provider_session
WHERE transcription_id = $1 AND closed_at IS NULL
ORDER BY opened_at, id
