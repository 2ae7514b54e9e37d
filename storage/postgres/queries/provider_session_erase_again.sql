UPDATE gateway.provider_session SET erase_at = $2 WHERE id = $1 AND erase_at IS NOT NULL
