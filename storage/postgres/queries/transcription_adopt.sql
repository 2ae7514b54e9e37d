-- A row that somebody is just writing under is skipped: its owner lives, or the next round finds it.
UPDATE gateway.transcription t SET owner = $1, fence = t.fence + 1, lease_until = $2
FROM (SELECT id FROM gateway.transcription
      WHERE state <> 'STOPPED' AND lease_until < $3
      ORDER BY lease_until, id LIMIT $4 FOR UPDATE SKIP LOCKED) lapsed
WHERE t.id = lapsed.id
RETURNING t.id
