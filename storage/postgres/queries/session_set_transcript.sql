UPDATE app."VideoSession"
SET "rawTranscriptBlobUrl" = $2, "rawTranscriptSizeBytes" = $3, "rawTranscriptReadyAt" = $4
WHERE id = $1
