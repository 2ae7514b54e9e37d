UPDATE app."VideoSession"
SET "rawTranscriptBlobUrl" = NULL, "rawTranscriptSizeBytes" = NULL, "rawTranscriptReadyAt" = NULL
WHERE id = $1
