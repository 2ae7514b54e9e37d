UPDATE gateway.provider_session SET billing_seconds = coalesce($2, billing_seconds), audit_at = NULL, url = NULL
WHERE id = $1
