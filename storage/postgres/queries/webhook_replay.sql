-- Each event once, however often it was replayed before, and none that is on its way.
INSERT INTO gateway.webhook_delivery (endpoint_id, event_id, type, lane, at, data)
SELECT o.endpoint_id, o.event_id, o.type, o.lane, o.at, o.data
FROM (SELECT DISTINCT ON (e.event_id) e.* FROM gateway.webhook_delivery e
      WHERE e.endpoint_id = $1 AND e.at >= $2 AND ($3::timestamptz IS NULL OR e.at < $3)
        AND ($4::text[] IS NULL OR e.type = ANY ($4)) AND e.type <> 'webhook.test'
      ORDER BY e.event_id, e.id) o
WHERE NOT EXISTS (SELECT FROM gateway.webhook_delivery p
                  WHERE p.endpoint_id = $1 AND p.event_id = o.event_id AND p.status = 'pending')
ORDER BY o.id
