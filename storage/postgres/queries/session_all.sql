SELECT id FROM app."VideoSession" ORDER BY "createdAt", id
