-- Open, and the process that opened it is not the one that answers for it now: a dead one's, or one's that lost the lease.
SELECT {provider_session}, url FROM gateway.provider_session
WHERE closed_at IS NULL AND process IS DISTINCT FROM $2 AND coalesce(account, $1) = $1
  AND NOT EXISTS (SELECT FROM gateway.transcription t
                  WHERE t.id = transcription_id AND t.state <> 'STOPPED' AND t.owner <> $3)
ORDER BY opened_at, id LIMIT $4
