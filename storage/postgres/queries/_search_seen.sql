($1 OR v."spaceId" = ANY ($2::text[]) OR v."createdByUserId" = $3 OR EXISTS (
  SELECT FROM app."Participant" p
  WHERE p."videoSessionId" = v.id AND (p."userId" = $4 OR p."userId" IS NULL AND p.identity = $4)))
