-- Absolute values under an id made once: a repeat changes nothing, counters only grow, and of two writers the one with
-- the newer clock decides whether the row is open.
WITH batch AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamp[],
                       $8::timestamp[], $9::int[], $10::int[], $11::int[], $12::int[], $13::int[], $14::int[],
                       $15::float8[], $16::float8[], $17::int[], $18::timestamp[], $19::text[], $20::float8[],
                       $21::float8[], $22::float8[], $23::float8[])
    AS b(id, transcription_id, identity, session_id, participant_id, user_id, started_at, ended_at, duration_seconds,
         duration_minutes, audio_chunks_sent, transcripts_received, final_transcripts, partial_transcripts,
         cost_per_minute, total_cost, errors_count, updated_at, gate, heard_seconds, speech_seconds, silent_seconds,
         kept_seconds)
), alive AS MATERIALIZED (
  SELECT v.id, v."spaceId", v."createdByUserId" FROM app."VideoSession" v
  WHERE v.id IN (SELECT session_id FROM batch) ORDER BY v.id FOR KEY SHARE
), known AS MATERIALIZED (
  SELECT p.id, p."userId" FROM app."Participant" p
  WHERE p.id IN (SELECT participant_id FROM batch WHERE participant_id IS NOT NULL)
    AND p."videoSessionId" IN (SELECT id FROM alive)
  ORDER BY p.id FOR KEY SHARE
), usage AS (
  INSERT INTO app."TranscriptionUsage" AS u
    (id, "videoSessionId", "participantId", "userId", "startedAt", "endedAt", "durationSeconds", "durationMinutes",
     "audioChunksSent", "transcriptsReceived", "finalTranscripts", "partialTranscripts", "costPerMinute", "totalCost",
     "errorsCount", "createdAt", "updatedAt")
  SELECT b.id, b.session_id, k.id, coalesce(b.user_id, k."userId"), b.started_at, b.ended_at, b.duration_seconds, b.duration_minutes,
         b.audio_chunks_sent, b.transcripts_received, b.final_transcripts, b.partial_transcripts, b.cost_per_minute,
         b.total_cost, b.errors_count, b.started_at, b.updated_at
  FROM batch b JOIN alive a ON a.id = b.session_id LEFT JOIN known k ON k.id = b.participant_id
  ORDER BY b.id
  ON CONFLICT (id) DO UPDATE SET
    "participantId"       = coalesce(excluded."participantId", u."participantId"),
    "userId"              = coalesce(excluded."userId", u."userId"),
    "endedAt"             = CASE WHEN excluded."updatedAt" >= u."updatedAt" THEN excluded."endedAt" ELSE u."endedAt" END,
    "durationSeconds"     = greatest(u."durationSeconds", excluded."durationSeconds"),
    "durationMinutes"     = greatest(u."durationMinutes", excluded."durationMinutes"),
    "audioChunksSent"     = greatest(u."audioChunksSent", excluded."audioChunksSent"),
    "transcriptsReceived" = greatest(u."transcriptsReceived", excluded."transcriptsReceived"),
    "finalTranscripts"    = greatest(u."finalTranscripts", excluded."finalTranscripts"),
    "partialTranscripts"  = greatest(u."partialTranscripts", excluded."partialTranscripts"),
    "totalCost"           = greatest(u."totalCost", excluded."totalCost"),
    "errorsCount"         = greatest(u."errorsCount", excluded."errorsCount"),
    "updatedAt"           = greatest(u."updatedAt", excluded."updatedAt")
  RETURNING u.id
), mapped AS (
  INSERT INTO gateway.transcription_usage AS m
    (usage_id, transcription_id, identity, gate, heard_seconds, speech_seconds, silent_seconds, kept_seconds)
  SELECT b.id, b.transcription_id, b.identity, b.gate, b.heard_seconds, b.speech_seconds, b.silent_seconds,
         b.kept_seconds
  FROM batch b JOIN alive a ON a.id = b.session_id ORDER BY b.id
  ON CONFLICT (usage_id) DO UPDATE SET
    gate           = CASE WHEN excluded.heard_seconds >= m.heard_seconds THEN excluded.gate ELSE m.gate END,
    heard_seconds  = greatest(m.heard_seconds, excluded.heard_seconds),
    speech_seconds = greatest(m.speech_seconds, excluded.speech_seconds),
    silent_seconds = greatest(m.silent_seconds, excluded.silent_seconds),
    kept_seconds   = greatest(m.kept_seconds, excluded.kept_seconds)
), daily AS (
  INSERT INTO gateway.usage_day AS d
    (day, usage_id, transcription_id, space_id, user_id, seconds_before, seconds, updated_at)
  SELECT b.updated_at::date, b.id, b.transcription_id, a."spaceId", a."createdByUserId",
         least(coalesce(o."durationSeconds", 0), b.duration_seconds), b.duration_seconds, b.updated_at AT TIME ZONE 'UTC'
  FROM batch b JOIN alive a ON a.id = b.session_id
       LEFT JOIN app."TranscriptionUsage" o ON o.id = b.id  -- as it stood before this statement
  ORDER BY b.id
  ON CONFLICT (day, usage_id) DO UPDATE SET seconds = greatest(d.seconds, excluded.seconds),
    updated_at = greatest(d.updated_at, excluded.updated_at)
)
SELECT (SELECT coalesce(array_agg(id), '{}') FROM usage) AS saved,
       (SELECT coalesce(array_agg(DISTINCT session_id), '{}') FROM batch
        WHERE session_id NOT IN (SELECT id FROM alive)) AS gone
