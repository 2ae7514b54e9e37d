SELECT count(*)::int AS pending, min(created_at) AS oldest FROM gateway.webhook_delivery WHERE status = 'pending'
