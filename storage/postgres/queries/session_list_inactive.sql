SELECT {session} FROM app."VideoSession" s
WHERE s.status = 'LIVE' AND coalesce(s."lastActivityAt", s."startedAt", s."createdAt") < $1
ORDER BY s."lastActivityAt" LIMIT $2
