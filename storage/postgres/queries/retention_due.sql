-- Sessions over since before a moment of which words are still kept. One that runs is not over, whatever its status.
SELECT v.id
FROM app."VideoSession" v
WHERE coalesce(v."endedAt", v."lastActivityAt", v."startedAt", v."createdAt") < $1
  AND NOT EXISTS (SELECT FROM gateway.transcription t WHERE t.session_id = v.id AND t.state <> 'STOPPED')
  AND (v."rawTranscriptBlobUrl" IS NOT NULL
       OR EXISTS (SELECT FROM app."TranscriptSegment" s WHERE s."videoSessionId" = v.id)
       OR EXISTS (SELECT FROM gateway.transcript_event e WHERE e.session_id = v.id)
       OR EXISTS (SELECT FROM gateway.stray_final y WHERE y.session_id = v.id)
       OR EXISTS (SELECT FROM gateway.document d WHERE d.session_id = v.id AND NOT d.removing)
       OR EXISTS (SELECT FROM app."SessionAnalysis" a WHERE a."sessionId" = v.id AND (a.summary IS NOT NULL
                  OR a."tasksJson" IS NOT NULL OR a."risksJson" IS NOT NULL))
       OR EXISTS (SELECT FROM gateway.analysis_job j WHERE j.session_id = v.id AND j.reason IS NOT NULL))
LIMIT $2
