UPDATE app."Participant" SET "leftAt" = $3
WHERE "videoSessionId" = $1 AND identity = $2 AND "leftAt" IS NULL
