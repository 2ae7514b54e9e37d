-- At most $8 of them; two at once may be one too many.
INSERT INTO gateway.webhook AS w (id, url, events, space_id, description, secrets, created_at)
SELECT $1, $2, $3::text[], $4, $5, $6::text[], $7 WHERE (SELECT count(*) FROM gateway.webhook) < $8
RETURNING {webhook}
