SELECT {session} FROM app."VideoSession" s WHERE s.slug = $1
