WITH moved AS (
    UPDATE app."SessionAnalysis" SET status = 'PENDING', "updatedAt" = $2 WHERE "sessionId" = $1 AND status = 'FAILED'
    RETURNING id
), job AS (
    UPDATE gateway.analysis_job j SET attempts = 0, fence = j.fence + 1, due_at = clock_timestamp(), reason = NULL, lease_until = NULL
    FROM moved WHERE j.analysis_id = moved.id
)
SELECT count(*) FROM moved
