INSERT INTO app."VideoSession" AS s (id, slug, title, "createdByUserId", status, "createdAt", "spaceId")
VALUES ($1, $2, $3, $4, 'CREATED', $5, $6)
ON CONFLICT (slug) DO NOTHING
RETURNING {session}
