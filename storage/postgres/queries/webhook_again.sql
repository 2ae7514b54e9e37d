-- The whole lane waits with its oldest, which alone could be sent.
WITH head AS (
  UPDATE gateway.webhook_delivery SET due_at = clock_timestamp() + $3 * interval '1 second', answer = $4, trouble = $5
  WHERE id = $1 AND attempts = $2 AND status = 'pending'
  RETURNING id, endpoint_id, lane
)
UPDATE gateway.webhook_delivery d SET due_at = clock_timestamp() + $3 * interval '1 second'
FROM head h WHERE d.endpoint_id = h.endpoint_id AND d.lane = h.lane AND d.status = 'pending' AND d.id > h.id
