UPDATE gateway.provider_session SET billing_seconds = $2 WHERE id = $1
