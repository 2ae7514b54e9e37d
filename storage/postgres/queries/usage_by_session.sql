{usage_joined}
WHERE u."videoSessionId" = $1
ORDER BY u."startedAt", u.id
