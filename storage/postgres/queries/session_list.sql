-- Newest first, after the session with the slug $3 (null: from the newest).
SELECT {session} FROM app."VideoSession" s
WHERE s."spaceId" = $1 AND s.status <> 'EXPIRED'
  AND ($3::text IS NULL OR (s."createdAt", s.id) < (SELECT b."createdAt", b.id FROM app."VideoSession" b WHERE b.slug = $3))
ORDER BY s."createdAt" DESC, s.id DESC
LIMIT $2
