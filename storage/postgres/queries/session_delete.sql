DELETE FROM app."VideoSession" WHERE id = $1
