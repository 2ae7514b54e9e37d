UPDATE gateway.webhook_delivery SET status = $3, settled_at = clock_timestamp(), answer = $4, trouble = $5
WHERE id = $1 AND attempts = $2 AND status = 'pending'
