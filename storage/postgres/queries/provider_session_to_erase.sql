-- Its bill comes first: what is deleted cannot be asked about. Taken by one replica, as audits are.
UPDATE gateway.provider_session SET erase_at = $3, erasures = erasures + 1
WHERE id IN (SELECT id FROM gateway.provider_session
             WHERE erase_at <= $2 AND closed_at IS NOT NULL AND audit_at IS NULL AND coalesce(account, $1) = $1
             ORDER BY erase_at, id LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING id, erasures
