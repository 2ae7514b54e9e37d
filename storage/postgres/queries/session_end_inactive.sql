UPDATE app."VideoSession" s SET status = 'ENDED', "endedAt" = $2
WHERE id = $1 AND status = 'LIVE' AND coalesce("lastActivityAt", "startedAt", "createdAt") < $3
RETURNING {session_ended}
