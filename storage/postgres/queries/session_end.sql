UPDATE app."VideoSession" s SET status = 'ENDED', "endedAt" = $2 WHERE id = $1 AND status = 'LIVE'
RETURNING {session_ended}
