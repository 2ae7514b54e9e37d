-- Newest first. $4: only those with a smaller id.
SELECT a.id, a.at, a.who_kind, a.who, a.what, a.session_slug, a.subject, a.address FROM gateway.audit a
WHERE ($1::timestamptz IS NULL OR a.at >= $1) AND ($2::timestamptz IS NULL OR a.at < $2)
  AND ($3::text IS NULL OR a.session_slug = $3) AND ($4::bigint IS NULL OR a.id < $4)
ORDER BY a.id DESC
LIMIT $5
