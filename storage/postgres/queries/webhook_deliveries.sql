-- Newest first. $3: only those with a smaller id.
SELECT {webhook_delivery} FROM gateway.webhook_delivery d
WHERE d.endpoint_id = $1 AND ($2::text IS NULL OR d.status = $2) AND ($3::bigint IS NULL OR d.id < $3)
ORDER BY d.id DESC LIMIT $4
