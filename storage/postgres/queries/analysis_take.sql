-- Oldest first; two workers never take the same one. RUNNING with a lapsed lease is lost; RUNNING without one is the app's.
-- While a transcription of the session has not closed its books, finals may still be on their way.
-- The row of the job may be older than the lock on the analysis: it is taken only if no other worker has done so in between, by its
-- fence. The analysis is locked before the job here and everywhere, so that no two statements deadlock.
WITH next AS (
    SELECT a.id, a."sessionId", coalesce(j.fence, 0) AS fence
    FROM app."SessionAnalysis" a LEFT JOIN gateway.analysis_job j ON j.analysis_id = a.id
    WHERE ((a.status = 'PENDING' AND (j.due_at IS NULL OR j.due_at <= clock_timestamp()))
        OR (a.status = 'RUNNING' AND j.lease_until < clock_timestamp()))
      AND NOT EXISTS (SELECT FROM gateway.transcription t WHERE t.session_id = a."sessionId" AND t.state <> 'STOPPED')
    ORDER BY a."createdAt", a.id LIMIT 1 FOR UPDATE OF a SKIP LOCKED
), job AS (
    INSERT INTO gateway.analysis_job AS j (analysis_id, session_id, fence, attempts, due_at, lease_until)
    SELECT id, "sessionId", fence + 1, 1, clock_timestamp(), clock_timestamp() + $1 * interval '1 second' FROM next
    ON CONFLICT (analysis_id) DO UPDATE
    SET fence = EXCLUDED.fence, attempts = j.attempts + 1, lease_until = EXCLUDED.lease_until
    WHERE j.fence = EXCLUDED.fence - 1
    RETURNING analysis_id, session_id, fence, attempts
), moved AS (
    UPDATE app."SessionAnalysis" a SET status = 'RUNNING', "updatedAt" = $2 FROM job WHERE a.id = job.analysis_id
)
SELECT analysis_id, session_id, fence, attempts FROM job
