-- One row a participant and transcription that began in [$1, $2), those of deleted sessions included. $3: only this space,
-- $4: only this user, $5: only with this tag. A row of ours is created when it begins, and "createdAt" has an index.
WITH items AS (
  SELECT u.id, u."startedAt" AS started_at, u."endedAt" AS ended_at,
         s.id AS session_id, s.slug AS session_slug, s.title, s."spaceId" AS space_id, u."userId" AS user_id,
         m.transcription_id, coalesce(m.identity, p.identity) AS identity, p.name AS participant_name,
         CASE WHEN jsonb_typeof(t.options -> 'tags') = 'array' THEN t.options -> 'tags' ELSE '[]' END AS tags,
         u."durationSeconds" AS duration_seconds, u."durationMinutes" AS duration_minutes, u."totalCost" AS total_cost,
         coalesce(least(m.kept_seconds, greatest(m.heard_seconds - u."durationSeconds", 0)), 0) * u."costPerMinute" / 60 AS cost_saved, false AS is_deleted
  FROM app."TranscriptionUsage" u
       JOIN app."VideoSession" s ON s.id = u."videoSessionId"
       LEFT JOIN gateway.transcription_usage m ON m.usage_id = u.id
       LEFT JOIN gateway.transcription t ON t.id = m.transcription_id
       LEFT JOIN app."Participant" p ON p.id = u."participantId"
  WHERE u."createdAt" >= $1::timestamptz AT TIME ZONE 'UTC' AND u."createdAt" < $2::timestamptz AT TIME ZONE 'UTC'
  UNION ALL
  SELECT a.id, a.started_at AT TIME ZONE 'UTC', a.ended_at AT TIME ZONE 'UTC', a.video_session_id, a.session_slug, NULL,
         a.space_id, a.user_id, a.transcription_id, a.identity, NULL, to_jsonb(a.tags), a.duration_seconds,
         a.duration_minutes, a.total_cost, a.kept_seconds * a.cost_per_minute / 60, true
  FROM gateway.usage_archive a
  WHERE a.created_at >= $1 AND a.created_at < $2
), chosen AS (
  SELECT * FROM items i
  WHERE ($3::text IS NULL OR i.space_id = $3) AND ($4::text IS NULL OR i.user_id = $4) AND ($5::text IS NULL OR i.tags ? $5)
)
