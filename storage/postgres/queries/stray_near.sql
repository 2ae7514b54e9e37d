-- A session's strays in spoken order, each with the numbered finals of its speaker that were said within a second of it.
SELECT y.utterance_id, y.data, coalesce(n.data, '{}') AS near
FROM gateway.stray_final y
     JOIN app."TranscriptSegment" t ON t."videoSessionId" = y.session_id AND t."utteranceId" = y.utterance_id
     CROSS JOIN LATERAL (
       SELECT array_agg(e.data ORDER BY e.seq) AS data
       FROM app."TranscriptSegment" o
            JOIN gateway.transcript_event e ON e.session_id = o."videoSessionId" AND e.utterance_id = o."utteranceId"
       WHERE o."videoSessionId" = y.session_id AND o."utteranceId" <> y.utterance_id
         AND e.data->>'participantIdentity' = y.data->>'participantIdentity'
         AND o."startedAt" < coalesce(t."endedAt", t."startedAt") + interval '1 second'
         AND coalesce(o."endedAt", o."startedAt") > t."startedAt" - interval '1 second'
     ) n
WHERE y.session_id = $1
ORDER BY t."startedAt", y.utterance_id
