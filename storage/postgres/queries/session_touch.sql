UPDATE app."VideoSession" SET "lastActivityAt" = greatest("lastActivityAt", $2)
WHERE id = $1 AND status = 'LIVE'
