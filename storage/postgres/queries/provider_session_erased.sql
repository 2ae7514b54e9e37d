UPDATE gateway.provider_session SET erase_at = NULL, erased_at = $2 WHERE id = $1
