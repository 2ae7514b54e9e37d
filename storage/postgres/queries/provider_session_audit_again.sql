UPDATE gateway.provider_session SET audit_at = $2 WHERE id = $1 AND audit_at IS NOT NULL
