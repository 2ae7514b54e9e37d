-- A row that is locked is skipped: its owner is writing under it, so lives; else the next round finds it.
-- With $5 the owner's own rows count as lapsed: it has just started, so the process that held them under its name is dead.
-- cut_off: the former owner may have shown finals that are on its disk only. Not so one that handed the run over (then
-- lease_until is the beginning of time), nor ourselves before a restart, whose disk is empty by now.
UPDATE gateway.transcription t SET owner = $1, fence = t.fence + 1, lease_until = $2
FROM (SELECT id, lease_until > to_timestamp(0) AND NOT ($5 AND owner = $1) AS cut_off
      FROM gateway.transcription
      WHERE state <> 'STOPPED' AND (lease_until < $3 OR ($5 AND owner = $1))
      ORDER BY lease_until, id LIMIT $4 FOR UPDATE SKIP LOCKED) lapsed
WHERE t.id = lapsed.id
RETURNING t.id, t.session_id, lapsed.cut_off
