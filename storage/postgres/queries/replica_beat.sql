-- Nothing is touched when another replica has found the row lapsed, or it is another run's.
UPDATE gateway.replica
SET beat_at = clock_timestamp(), draining = $3, sessions = $4, tracks = $5, watchers = $6, capacity = $7, url = $8
WHERE id = $1 AND run = $2 AND lost_at IS NULL
