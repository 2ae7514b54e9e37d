-- The end of an attempt: the analysis moves from RUNNING to $3, its results with it, unless another worker has taken it.
WITH held AS (
    SELECT id FROM app."SessionAnalysis" WHERE id = $1 AND status = 'RUNNING' FOR UPDATE
), job AS (
    UPDATE gateway.analysis_job j
    SET lease_until = NULL, method = coalesce($7, j.method), reason = $8, due_at = clock_timestamp() + $9 * interval '1 second', attempts = j.attempts - $10
    FROM held WHERE j.analysis_id = held.id AND j.fence = $2 AND j.lease_until IS NOT NULL
    RETURNING j.analysis_id
)
UPDATE app."SessionAnalysis" a
SET status = $3::text::app."AnalysisStatus", summary = coalesce($4, a.summary), "tasksJson" = coalesce($5, a."tasksJson"),
    "risksJson" = coalesce($6, a."risksJson"), "updatedAt" = $11
FROM job WHERE a.id = job.analysis_id
RETURNING CASE WHEN $3 IN ('DONE', 'FAILED') THEN gateway.webhook_tell('analysis.' || lower($3), a."sessionId",
  (SELECT v.slug FROM app."VideoSession" v WHERE v.id = a."sessionId"),
  (SELECT v."spaceId" FROM app."VideoSession" v WHERE v.id = a."sessionId"), $11::timestamp AT TIME ZONE 'UTC',
  jsonb_build_object('method', $7, 'reason', $8)) END
