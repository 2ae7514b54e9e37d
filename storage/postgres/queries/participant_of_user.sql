-- At most 16, hosts first.
SELECT {participant} FROM app."Participant" p
WHERE p."videoSessionId" = $1 AND (p."userId" = $2 OR (p."userId" IS NULL AND p.identity = $2))
ORDER BY p.role::text <> 'HOST', p.id
LIMIT 16
