-- The first final that ends after a moment. Compared as jsonb, which never fails on a row.
SELECT seq FROM gateway.transcript_event
WHERE session_id = $1 AND data->'endMs' > to_jsonb($2::bigint)
ORDER BY seq LIMIT 1
