WITH made AS (
  INSERT INTO app."VideoSession" AS s (id, slug, title, "createdByUserId", status, "createdAt", "spaceId")
  VALUES ($1, $2, $3, $4, 'CREATED', $5, $6)
  ON CONFLICT (slug) DO NOTHING
  RETURNING s.*, gateway.webhook_tell('session.created', s.id, s.slug, s."spaceId", s."createdAt" AT TIME ZONE 'UTC',
    jsonb_build_object('title', s.title, 'createdByUserId', s."createdByUserId"))
)
SELECT {session} FROM made s
