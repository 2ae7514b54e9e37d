-- A run begins. One that has the same id is over: its data folder was locked, or it has lost its row and knows it.
INSERT INTO gateway.replica
  (id, run, process, version, url, lease_s, started_at, beat_at, draining, sessions, tracks, watchers, capacity)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp(), clock_timestamp(), $7, $8, $9, $10, $11)
ON CONFLICT (id) DO UPDATE SET
  run = excluded.run, process = excluded.process, version = excluded.version, url = excluded.url,
  lease_s = excluded.lease_s, started_at = excluded.started_at, beat_at = excluded.beat_at, lost_at = NULL,
  draining = excluded.draining, sessions = excluded.sessions, tracks = excluded.tracks, watchers = excluded.watchers,
  capacity = excluded.capacity
