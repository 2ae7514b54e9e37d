DELETE FROM gateway.webhook_delivery WHERE id IN (SELECT d.id FROM gateway.webhook_delivery d WHERE d.created_at < $1 ORDER BY d.created_at LIMIT $2)
