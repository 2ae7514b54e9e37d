UPDATE app."VideoSession"
SET status = 'LIVE', "startedAt" = coalesce("startedAt", $2), "lastActivityAt" = greatest("lastActivityAt", $2)
WHERE id = $1 AND status = 'CREATED'
