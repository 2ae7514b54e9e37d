-- For what is said after the session's end: nobody comes back by it. role and userId are the app's: set with the first insert,
-- never overwritten.
INSERT INTO app."Participant" AS p (id, "videoSessionId", identity, name, role, "userId", "joinedAt", "leftAt")
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT ("videoSessionId", identity) DO UPDATE SET name = coalesce(p.name, excluded.name)
RETURNING {participant}
