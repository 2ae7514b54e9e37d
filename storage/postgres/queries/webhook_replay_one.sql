INSERT INTO gateway.webhook_delivery AS d (endpoint_id, event_id, type, lane, at, data)
SELECT o.endpoint_id, o.event_id, o.type, o.lane, o.at, o.data FROM gateway.webhook_delivery o
WHERE o.endpoint_id = $1 AND o.id = $2 AND o.status <> 'pending'
RETURNING {webhook_delivery}
