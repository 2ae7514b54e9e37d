-- Both or none: the mark here, and the app's three columns. No row: the session is gone, or is being erased.
WITH ready AS (
  UPDATE gateway.document SET ready_at = $3, tries = 0,
    busy_until = CASE WHEN busy_until <= $8 THEN $7 ELSE busy_until END
  WHERE session_id = $1 AND place = $2 AND NOT removing
  RETURNING session_id
)
UPDATE app."VideoSession" v
SET "rawTranscriptBlobUrl" = $4, "rawTranscriptSizeBytes" = $5, "rawTranscriptReadyAt" = $6
FROM ready WHERE v.id = ready.session_id
RETURNING v.id, gateway.webhook_tell('transcript.ready', v.id, v.slug, v."spaceId", $7::timestamptz, jsonb_build_object(
  'documentPath', '/api/sessions/' || v.slug || '/document', 'sizeBytes', v."rawTranscriptSizeBytes"))
