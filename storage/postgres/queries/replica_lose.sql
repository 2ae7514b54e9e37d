-- Find out who has lapsed: from here on their beats are refused. A row that is locked is skipped: its beat is under way.
-- A server that has just started has heard nobody yet.
UPDATE gateway.replica SET lost_at = clock_timestamp()
WHERE id IN (SELECT id FROM gateway.replica
             WHERE lost_at IS NULL
               AND greatest(beat_at, pg_postmaster_start_time()) < clock_timestamp() - lease_s * interval '1 second'
             FOR UPDATE SKIP LOCKED)
