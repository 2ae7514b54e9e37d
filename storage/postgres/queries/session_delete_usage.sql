WITH gone AS (DELETE FROM app."TranscriptionUsage" WHERE "videoSessionId" = $1 RETURNING id)
DELETE FROM gateway.transcription_usage WHERE usage_id IN (SELECT id FROM gone)
