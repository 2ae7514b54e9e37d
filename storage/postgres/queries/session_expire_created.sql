WITH expired AS (
  UPDATE app."VideoSession" AS s SET status = 'EXPIRED'
  WHERE s.status = 'CREATED' AND s."createdAt" < $1
  RETURNING s.*, {session_ended}
)
SELECT {session} FROM expired s
