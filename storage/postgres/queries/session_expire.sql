UPDATE app."VideoSession" SET status = 'EXPIRED' WHERE id = $1 AND status = 'CREATED'
