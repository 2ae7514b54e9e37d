-- A row that is locked is skipped: somebody is writing under it; the next look finds it.
-- With $4 the owner's own rows, of whatever run: it has just started, so the process that held them under its name is dead.
-- cut_off: the former owner may have shown finals that are on its disk only. Not so one that handed the run over (then
-- lease_until is the beginning of time), nor ourselves before a restart, whose disk is empty by now.
UPDATE gateway.transcription t
SET owner = $1, owner_run = $2, fence = t.fence + 1, lease_until = clock_timestamp() + $3 * interval '1 second'
FROM (SELECT t.id, t.lease_until > to_timestamp(0) AND NOT ($4 AND t.owner = $1) AS cut_off
      FROM gateway.transcription t
      WHERE ($5::text[] IS NULL OR t.id = ANY($5::text[]))
        AND (({orphaned}) OR ($4 AND t.owner = $1 AND t.state <> 'STOPPED'))
      ORDER BY t.lease_until, t.id LIMIT $6 FOR UPDATE OF t SKIP LOCKED) lapsed
WHERE t.id = lapsed.id
RETURNING t.id, t.session_id, lapsed.cut_off
