-- The user whose identity this is: who has that id, wherever; else whose participant it is in this session. NULL: nobody's.
SELECT CASE
  WHEN EXISTS (SELECT FROM gateway.known_user k WHERE k.user_id = $2)
    OR EXISTS (SELECT FROM app."VideoSession" v WHERE v."createdByUserId" = $2) THEN $2
  ELSE (SELECT p."userId" FROM app."Participant" p WHERE p."videoSessionId" = $1 AND p.identity = $2)
END
