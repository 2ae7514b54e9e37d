-- At most $6 sessions that someone may see: $1 all, $2 those of these spaces, $3 those that this user has created, $4 those in which
-- this user takes part. $5: only those of this space. The condition is that of `search_find`, in a form that uses indexes.
SELECT v.id FROM (
  SELECT id FROM app."VideoSession" WHERE $1 AND "spaceId" = $5
  UNION SELECT id FROM app."VideoSession" WHERE "spaceId" = ANY ($2::text[])
  UNION SELECT id FROM app."VideoSession" WHERE "createdByUserId" = $3
  UNION SELECT "videoSessionId" FROM app."Participant" WHERE "userId" = $4 OR "userId" IS NULL AND identity = $4
) mine JOIN app."VideoSession" v USING (id)
WHERE $5::text IS NULL OR v."spaceId" = $5
LIMIT $6
