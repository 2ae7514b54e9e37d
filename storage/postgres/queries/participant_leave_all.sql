UPDATE app."Participant" SET "leftAt" = $2
WHERE "videoSessionId" = $1 AND "leftAt" IS NULL
