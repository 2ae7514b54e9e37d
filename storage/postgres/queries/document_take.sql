-- What is due in a place, now the caller's until $3.
UPDATE gateway.document d
SET tries = d.tries + 1, next_try = $3, busy_until = CASE WHEN d.removing THEN d.busy_until ELSE $3 END
FROM (
  SELECT session_id, place FROM gateway.document
  WHERE place = $1 AND next_try <= $2 AND (removing OR ready_at IS NULL OR ready_at < wanted_at)
  ORDER BY next_try LIMIT $4 FOR UPDATE SKIP LOCKED
) due
WHERE d.session_id = due.session_id AND d.place = due.place
RETURNING d.session_id, d.key, d.removing, d.tries
