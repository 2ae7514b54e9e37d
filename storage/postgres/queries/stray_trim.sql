-- What is left of a stray; one that has a number meanwhile stays as it is.
WITH stray AS (
  UPDATE gateway.stray_final y SET data = $3 WHERE y.session_id = $1 AND y.utterance_id = $2
    AND NOT EXISTS (
      SELECT FROM gateway.transcript_event e WHERE e.session_id = y.session_id AND e.utterance_id = y.utterance_id
    )
  RETURNING y.session_id, y.utterance_id
)
UPDATE app."TranscriptSegment" t SET text = $4, "startedAt" = $5, "endedAt" = $6
FROM stray s WHERE t."videoSessionId" = s.session_id AND t."utteranceId" = s.utterance_id
