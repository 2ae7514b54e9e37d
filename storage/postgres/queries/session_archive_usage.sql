INSERT INTO gateway.usage_archive
  (id, video_session_id, session_slug, space_id, transcription_id, identity, participant_id, user_id, started_at, ended_at,
   duration_seconds, duration_minutes, audio_chunks_sent, transcripts_received, final_transcripts, partial_transcripts,
   cost_per_minute, total_cost, errors_count, created_at, updated_at, archived_at, tags,
   kept_seconds)
SELECT u.id, u."videoSessionId", s.slug, s."spaceId", m.transcription_id, coalesce(m.identity, p.identity),
       u."participantId", u."userId", u."startedAt" AT TIME ZONE 'UTC', u."endedAt" AT TIME ZONE 'UTC',
       u."durationSeconds", u."durationMinutes", u."audioChunksSent", u."transcriptsReceived", u."finalTranscripts",
       u."partialTranscripts", u."costPerMinute", u."totalCost", u."errorsCount",
       u."createdAt" AT TIME ZONE 'UTC', u."updatedAt" AT TIME ZONE 'UTC', $2,
       ARRAY(SELECT jsonb_array_elements_text(coalesce($3::jsonb -> m.transcription_id, '[]'))),
       coalesce(least(m.kept_seconds, greatest(m.heard_seconds - u."durationSeconds", 0)), 0)
FROM app."TranscriptionUsage" u
     JOIN app."VideoSession" s ON s.id = u."videoSessionId"
     LEFT JOIN app."Participant" p ON p.id = u."participantId"
     LEFT JOIN gateway.transcription_usage m ON m.usage_id = u.id
WHERE u."videoSessionId" = $1
ON CONFLICT (id) DO NOTHING
