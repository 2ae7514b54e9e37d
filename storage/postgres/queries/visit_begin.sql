INSERT INTO gateway.room_visit AS v (session_id, identity, sid, joined_ms, is_over) VALUES ($1, $2, $3, $4, false)
ON CONFLICT (session_id, identity) DO UPDATE SET sid = excluded.sid, joined_ms = excluded.joined_ms, is_over = false
WHERE excluded.joined_ms >= v.joined_ms AND NOT (v.sid = excluded.sid AND v.is_over)
