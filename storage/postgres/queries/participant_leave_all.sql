UPDATE app."Participant" p SET "leftAt" = $2
FROM app."VideoSession" v
WHERE p."videoSessionId" = $1 AND p."leftAt" IS NULL AND v.id = p."videoSessionId"
RETURNING {participant_left}
