-- Taken by one replica: the others see it again when that one has not come back in time.
UPDATE gateway.provider_session SET audit_at = $3, audits = audits + 1
WHERE id IN (SELECT id FROM gateway.provider_session
             WHERE audit_at <= $2 AND coalesce(account, $1) = $1
             ORDER BY audit_at, id LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING {provider_session}, url, audits
