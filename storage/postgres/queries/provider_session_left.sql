-- Open, and nobody answers for it. Another process's: that one is dead, or this is older than replicas' rows, and the
-- transcription is ours or nobody's. While it lives, it may still wait for what it has sent. Our own: no link carries it.
SELECT {provider_session}, url, process IS NOT DISTINCT FROM $2 AS is_own FROM gateway.provider_session p
WHERE closed_at IS NULL AND coalesce(account, $1) = $1
  AND CASE WHEN process = $2 THEN id <> ALL ($4)
      ELSE NOT EXISTS (SELECT FROM gateway.replica r
                       WHERE r.process = p.process AND r.lost_at IS NULL
                         AND r.beat_at > clock_timestamp() - r.lease_s * interval '1 second')
       AND NOT EXISTS (SELECT FROM gateway.transcription t
                       WHERE t.id = p.transcription_id AND t.state <> 'STOPPED' AND t.owner <> $3) END
ORDER BY opened_at, id LIMIT $5
