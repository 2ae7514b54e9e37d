-- Of each endpoint and session the oldest, when it is due; it is the caller's until $3. $1, $2: endpoints that the caller is sending
-- to already, and how much of it. An endpoint gets $4 requests at once.
WITH due AS (
  SELECT d.id FROM gateway.webhook w
       LEFT JOIN unnest($1::text[], $2::int[]) AS busy(id, requests) ON busy.id = w.id
       CROSS JOIN LATERAL (
         SELECT n.id FROM gateway.webhook_delivery n
         WHERE n.endpoint_id = w.id AND n.status = 'pending' AND n.due_at <= clock_timestamp()
           AND NOT EXISTS (SELECT FROM gateway.webhook_delivery o
                           WHERE o.endpoint_id = n.endpoint_id AND o.lane = n.lane AND o.status = 'pending' AND o.id < n.id)
         ORDER BY n.due_at LIMIT greatest($4::int - coalesce(busy.requests, 0), 0) FOR UPDATE SKIP LOCKED
       ) d
  WHERE w.disabled_at IS NULL
)
UPDATE gateway.webhook_delivery d SET due_at = clock_timestamp() + $3 * interval '1 second', attempts = d.attempts + 1
FROM due, gateway.webhook w WHERE d.id = due.id AND w.id = d.endpoint_id
RETURNING {webhook_delivery}, w.id AS to_id, w.url AS to_url, w.events AS to_events, w.space_id AS to_space_id,
  w.description AS to_description, w.secrets AS to_secrets, w.former_until AS to_former_until, w.created_at AS to_created_at,
  w.disabled_at AS to_disabled_at, w.disabled_reason AS to_disabled_reason
