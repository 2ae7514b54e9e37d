INSERT INTO gateway.webhook_delivery AS d (endpoint_id, event_id, type, lane, at, data)
SELECT w.id, 'msg_' || replace(gen_random_uuid()::text, '-', ''), 'webhook.test', '', $2, $3
FROM gateway.webhook w WHERE w.id = $1
RETURNING {webhook_delivery}
