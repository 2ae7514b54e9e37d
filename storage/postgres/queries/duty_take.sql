-- The caller's when the duty is free, is the caller's already, or was not renewed in time.
INSERT INTO gateway.duty AS d (name, owner, until) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE d.owner = excluded.owner OR d.until <= clock_timestamp()
