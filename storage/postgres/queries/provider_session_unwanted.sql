UPDATE gateway.provider_session SET erase_at = $2
WHERE session_id = $1 AND erase_at IS NULL AND erased_at IS NULL
