SELECT {participant} FROM app."Participant" p
WHERE p."videoSessionId" = $1 AND (p."leftAt" IS NULL OR NOT $2)
ORDER BY p."joinedAt", p.id
