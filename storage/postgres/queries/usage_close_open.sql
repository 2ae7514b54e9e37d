-- For an owner that crashed: the last checkpoint is the last thing known.
UPDATE app."TranscriptionUsage" u SET "endedAt" = u."updatedAt"
FROM gateway.transcription_usage m
WHERE m.usage_id = u.id AND m.transcription_id = $1 AND u."endedAt" IS NULL
