SELECT {session} FROM app."VideoSession" s
WHERE s."spaceId" = $1 AND s.status <> 'EXPIRED'
ORDER BY s."createdAt" DESC, s.id DESC
LIMIT $2
