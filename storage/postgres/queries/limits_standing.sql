-- What a session's ($1) space and creator may use, and what others than its transcription ($2) have used today ($3) so far.
-- `live`: participants of others that were metered since $4, so that more is on its way.
SELECT v.id AS session_id, v."spaceId" AS space_id, l.transcription, l.session_minutes, l.user_minutes_per_day, l.space_minutes_per_day,
       session.seconds AS session_seconds, own.before AS own_before,
       by_user.seconds AS user_seconds, by_user.live AS user_live,
       by_space.seconds AS space_seconds, by_space.live AS space_live
FROM unnest($1::text[], $2::text[]) AS w(session_id, transcription_id)
     JOIN app."VideoSession" v ON v.id = w.session_id
     LEFT JOIN gateway.space_limits l ON l.space_id = v."spaceId"
     CROSS JOIN LATERAL (
       SELECT coalesce(sum(u."durationSeconds"), 0)::bigint AS seconds
       FROM app."TranscriptionUsage" u LEFT JOIN gateway.transcription_usage m ON m.usage_id = u.id
       WHERE u."videoSessionId" = v.id AND m.transcription_id IS DISTINCT FROM w.transcription_id
     ) session
     CROSS JOIN LATERAL (
       -- Of our own meters, what belongs to earlier days.
       SELECT coalesce(sum(coalesce(d.seconds_before,
                CASE WHEN u."startedAt" < $3::date THEN u."durationSeconds" ELSE 0 END)), 0)::bigint AS before
       FROM gateway.transcription_usage m JOIN app."TranscriptionUsage" u ON u.id = m.usage_id
            LEFT JOIN gateway.usage_day d ON d.usage_id = m.usage_id AND d.day = $3
       WHERE m.transcription_id = w.transcription_id
     ) own
     CROSS JOIN LATERAL (
       SELECT coalesce(sum(d.seconds - d.seconds_before), 0)::bigint AS seconds,
              count(*) FILTER (WHERE d.updated_at >= $4) AS live
       FROM gateway.usage_day d
       WHERE d.user_id = v."createdByUserId" AND d.day = $3 AND d.transcription_id <> w.transcription_id
     ) by_user
     CROSS JOIN LATERAL (
       SELECT coalesce(sum(d.seconds - d.seconds_before), 0)::bigint AS seconds,
              count(*) FILTER (WHERE d.updated_at >= $4) AS live
       FROM gateway.usage_day d
       WHERE d.space_id = v."spaceId" AND d.day = $3 AND d.transcription_id <> w.transcription_id
     ) by_space
