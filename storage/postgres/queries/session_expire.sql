UPDATE app."VideoSession" s SET status = 'EXPIRED' WHERE id = $1 AND status = 'CREATED'
RETURNING {session_ended}
