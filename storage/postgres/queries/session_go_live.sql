UPDATE app."VideoSession" v
SET status = 'LIVE', "startedAt" = coalesce("startedAt", $2), "lastActivityAt" = greatest("lastActivityAt", $2)
WHERE id = $1 AND status = 'CREATED'
RETURNING {session_started}
