-- The session goes live and the participant is there, or neither: one statement. Nothing comes back for a session that
-- is ended, expired or gone. FOR UPDATE makes the second of two joins wait and then see LIVE.
WITH was AS (
  SELECT id, status FROM app."VideoSession" WHERE id = $2 AND status IN ('CREATED', 'LIVE') FOR UPDATE
), live AS (
  UPDATE app."VideoSession" v
  SET status = 'LIVE', "startedAt" = coalesce(v."startedAt", $7), "lastActivityAt" = greatest(v."lastActivityAt", $7)
  FROM was WHERE v.id = was.id
  RETURNING v.id, v.slug, v."spaceId", was.status = 'CREATED' AS went_live,
            CASE WHEN was.status = 'CREATED' THEN {session_started} END
), present AS (
INSERT INTO app."Participant" AS p (id, "videoSessionId", identity, name, role, "userId", "joinedAt")
SELECT $1, live.id, $3, $4, $5, $6, $7 FROM live
ON CONFLICT ("videoSessionId", identity) DO UPDATE SET "leftAt" = NULL, name = coalesce(p.name, excluded.name)
RETURNING p.*, CASE WHEN {participant_came} THEN {participant_joined} END
)
SELECT {participant}, (SELECT went_live FROM live) AS went_live FROM present p
