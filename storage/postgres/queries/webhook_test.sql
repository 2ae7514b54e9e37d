-- A lane of its own: it waits for nothing.
INSERT INTO gateway.webhook_delivery AS d (endpoint_id, event_id, type, lane, at, data)
SELECT w.id, one.id, 'webhook.test', one.id, $2, $3
FROM gateway.webhook w, (SELECT 'msg_' || replace(gen_random_uuid()::text, '-', '') AS id) one WHERE w.id = $1
RETURNING {webhook_delivery}
