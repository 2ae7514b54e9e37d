UPDATE gateway.webhook_delivery SET due_at = clock_timestamp() WHERE endpoint_id = $1 AND status = 'pending'
