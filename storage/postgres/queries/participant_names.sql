-- Of those who are there, the newest first.
SELECT name FROM app."Participant" WHERE "videoSessionId" = $1 AND "leftAt" IS NULL AND name IS NOT NULL
ORDER BY "joinedAt" DESC, id DESC LIMIT $2
