UPDATE gateway.provider_place SET granted_at = clock_timestamp()
WHERE id IN (SELECT id FROM gateway.provider_place
             WHERE account = $1 AND granted_at IS NULL
             ORDER BY asked_at, id
             LIMIT greatest($2 - (SELECT count(*) FROM gateway.provider_place
                                  WHERE account = $1 AND granted_at IS NOT NULL), 0))
