SELECT {session} FROM app."VideoSession" s
WHERE s.status <> 'EXPIRED'
  AND ($2::text IS NULL OR (s."createdAt", s.id) < (SELECT b."createdAt", b.id FROM app."VideoSession" b WHERE b.slug = $2))
ORDER BY s."createdAt" DESC, s.id DESC
LIMIT $1
