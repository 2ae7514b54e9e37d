-- A document is wanted, and the caller is about to write it. An erased session's row stays as it is.
INSERT INTO gateway.document AS d (session_id, place, key, wanted_at, busy_until, next_try)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (session_id, place) DO UPDATE SET wanted_at = greatest(d.wanted_at, excluded.wanted_at), tries = 0,
    busy_until = greatest(d.busy_until, excluded.busy_until), next_try = excluded.next_try
WHERE NOT d.removing
RETURNING d.key
