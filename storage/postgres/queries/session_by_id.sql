SELECT {session} FROM app."VideoSession" s WHERE s.id = $1
