SELECT {participant} FROM app."Participant" p
WHERE p."videoSessionId" = ANY($1::text[]) AND p."leftAt" IS NULL
ORDER BY p."joinedAt", p.id
