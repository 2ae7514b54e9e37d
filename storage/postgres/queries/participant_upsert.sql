-- role and userId are the app's: set with the first insert, never overwritten.
INSERT INTO app."Participant" AS p (id, "videoSessionId", identity, name, role, "userId", "joinedAt")
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ("videoSessionId", identity) DO UPDATE SET "leftAt" = NULL, name = coalesce(p.name, excluded.name)
RETURNING {participant}
