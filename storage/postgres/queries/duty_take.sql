-- Ours when it is nobody's, ours already, or its owner has not renewed it.
INSERT INTO gateway.duty AS d (name, owner, until) VALUES ($1, $2, $4)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE d.owner = excluded.owner OR d.until <= $3
