UPDATE app."Participant" p SET "leftAt" = $3
FROM app."VideoSession" v
WHERE p."videoSessionId" = $1 AND p.identity = $2 AND p."leftAt" IS NULL AND v.id = p."videoSessionId"
RETURNING {participant_left}
