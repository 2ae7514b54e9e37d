id, run, version, url, started_at, beat_at, draining, sessions, tracks, watchers, capacity
