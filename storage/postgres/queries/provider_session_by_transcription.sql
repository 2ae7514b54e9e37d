SELECT {provider_session} FROM gateway.provider_session
WHERE transcription_id = $1
ORDER BY opened_at, id
