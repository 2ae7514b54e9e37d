UPDATE app."VideoSession" AS s SET status = 'EXPIRED'
WHERE s.status = 'CREATED' AND s."createdAt" < $1
RETURNING {session}
