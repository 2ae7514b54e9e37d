-- $3 empty: of whichever connection is known.
INSERT INTO gateway.room_visit AS v (session_id, identity, sid, joined_ms, is_over) VALUES ($1, $2, $3, $4, true)
ON CONFLICT (session_id, identity) DO UPDATE SET
  sid = coalesce(nullif(excluded.sid, ''), v.sid), joined_ms = greatest(excluded.joined_ms, v.joined_ms), is_over = true
WHERE v.sid = excluded.sid OR (excluded.sid = '' AND excluded.joined_ms >= v.joined_ms) OR excluded.joined_ms > v.joined_ms
