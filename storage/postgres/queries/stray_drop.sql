-- Strays of which nothing is left; one that has a number meanwhile stays.
WITH stray AS (
  DELETE FROM gateway.stray_final y WHERE y.session_id = $1 AND y.utterance_id = ANY ($2::text[])
    AND NOT EXISTS (
      SELECT FROM gateway.transcript_event e WHERE e.session_id = y.session_id AND e.utterance_id = y.utterance_id
    )
  RETURNING y.session_id, y.utterance_id
)
DELETE FROM app."TranscriptSegment" t
USING stray s WHERE t."videoSessionId" = s.session_id AND t."utteranceId" = s.utterance_id
