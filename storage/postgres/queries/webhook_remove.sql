WITH gone AS (DELETE FROM gateway.webhook WHERE id = $1 RETURNING id)
DELETE FROM gateway.webhook_delivery d USING (SELECT id FROM gone) g WHERE d.endpoint_id = g.id
