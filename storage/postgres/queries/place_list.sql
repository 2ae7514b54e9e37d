SELECT id, process, granted_at IS NOT NULL AS granted FROM gateway.provider_place
WHERE account = $1 ORDER BY asked_at, id
