UPDATE app."VideoSession" SET status = 'ENDED', "endedAt" = $2
WHERE id = $1 AND status = 'LIVE' AND coalesce("lastActivityAt", "startedAt", "createdAt") < $3
