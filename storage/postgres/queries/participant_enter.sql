-- Like participant_join, for a caller who states role, name and user: what is said now goes before what is stored ($5 null: no
-- role was said). Nothing comes back, and nothing changes, when the identity is another user's, unless $8 vouches for it.
-- $9: the identity is the id of user $6, and so that user's, whoever came under it before.
WITH was AS (
  SELECT v.id, v.status FROM app."VideoSession" v
  WHERE v.id = $2 AND v.status IN ('CREATED', 'LIVE')
    AND ($8 OR $9 OR NOT EXISTS (SELECT FROM app."Participant" o
                           WHERE o."videoSessionId" = $2 AND o.identity = $3 AND o."userId" IS DISTINCT FROM $6
                             AND o."userId" IS NOT NULL))
  FOR UPDATE
), live AS (
  UPDATE app."VideoSession" v
  SET status = 'LIVE', "startedAt" = coalesce(v."startedAt", $7), "lastActivityAt" = greatest(v."lastActivityAt", $7)
  FROM was WHERE v.id = was.id
  RETURNING v.id, v.slug, v."spaceId", was.status = 'CREATED' AS went_live,
            CASE WHEN was.status = 'CREATED' THEN {session_started} END
), present AS (
INSERT INTO app."Participant" AS p (id, "videoSessionId", identity, name, role, "userId", "joinedAt")
SELECT $1, live.id, $3, $4, coalesce($5, 'GUEST')::app."ParticipantRole", $6, $7 FROM live
ON CONFLICT ("videoSessionId", identity) DO UPDATE SET
  "leftAt" = NULL, name = coalesce(excluded.name, p.name),
  role = coalesce($5::app."ParticipantRole", p.role), "userId" = CASE WHEN $9 THEN coalesce($6, p."userId") ELSE coalesce(p."userId", $6) END
WHERE $8 OR $9 OR p."userId" IS NULL OR p."userId" = $6
RETURNING p.*, CASE WHEN {participant_came} THEN {participant_joined} END
)
SELECT {participant}, (SELECT went_live FROM live) AS went_live FROM present p
