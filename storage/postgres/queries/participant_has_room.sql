-- Whether that identity is in, or there is room for one more. $3: 0 = no limit.
SELECT $3::int = 0
  OR EXISTS (SELECT FROM app."Participant" p WHERE p."videoSessionId" = $1 AND p.identity = $2)
  OR (SELECT count(*) FROM (SELECT FROM app."Participant" p WHERE p."videoSessionId" = $1 LIMIT $3::int) seen) < $3::int
