SELECT id FROM app."VideoSession" WHERE id = $1 FOR UPDATE
