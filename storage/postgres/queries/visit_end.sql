INSERT INTO gateway.room_visit AS v (session_id, identity, sid, joined_ms, is_over) VALUES ($1, $2, $3, $4, true)
ON CONFLICT (session_id, identity) DO UPDATE SET sid = excluded.sid, joined_ms = excluded.joined_ms, is_over = true
WHERE v.sid = excluded.sid OR excluded.joined_ms > v.joined_ms
