-- The books are closed already: every final and every reading of this run is stored.
UPDATE gateway.transcription t
SET state = 'STOPPED', stopped_at = $3, stop_reason = $4, finals_complete = $5, health = '{}'
FROM (
  SELECT v."spaceId" AS space_id, count(u.id) AS participants, coalesce(sum(u."durationSeconds"), 0) AS seconds,
         coalesce(sum(u."durationMinutes"), 0) AS minutes, coalesce(sum(u."totalCost"), 0) AS cost,
         coalesce(sum(u."finalTranscripts"), 0) AS finals
  FROM (SELECT session_id FROM gateway.transcription WHERE id = $1) o
       LEFT JOIN app."VideoSession" v ON v.id = o.session_id
       LEFT JOIN gateway.transcription_usage m ON m.transcription_id = $1
       LEFT JOIN app."TranscriptionUsage" u ON u.id = m.usage_id
  GROUP BY v."spaceId"
) used
WHERE t.id = $1 AND t.fence = $2 AND t.state <> 'STOPPED'
RETURNING
  gateway.webhook_tell('transcription.stopped', t.session_id, t.session_slug, used.space_id, t.stopped_at, jsonb_build_object(
    'transcriptionId', t.id, 'reason', t.stop_reason, 'finalsComplete', t.finals_complete, 'finals', used.finals)),
  CASE WHEN $6::boolean THEN gateway.webhook_tell('limit.reached', t.session_id, t.session_slug, used.space_id,
    t.stopped_at, jsonb_build_object('transcriptionId', t.id, 'reason', t.stop_reason)) END,
  gateway.webhook_tell('usage.closed', t.session_id, t.session_slug, used.space_id, t.stopped_at, jsonb_build_object(
    'transcriptionId', t.id, 'usageRows', used.participants, 'durationSeconds', used.seconds, 'durationMinutes', used.minutes,
    'totalCost', used.cost, 'tags', coalesce(nullif(t.options -> 'tags', 'null'), '[]')))
