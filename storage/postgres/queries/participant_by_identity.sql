SELECT {participant} FROM app."Participant" p WHERE p."videoSessionId" = $1 AND p.identity = $2
