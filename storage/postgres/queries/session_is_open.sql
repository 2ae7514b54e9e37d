SELECT 1 FROM app."VideoSession" WHERE id = $1 AND status NOT IN ('ENDED', 'EXPIRED')
