-- Strays of a session get the next numbers, in spoken order, unless a run of it is active. The caller holds the
-- session's row, so that no run begins meanwhile. A stray that got a number in another way is only forgotten. Usage rows
-- count no fewer finals than are numbered.
WITH free AS MATERIALIZED (
  SELECT s.session_id, s.epoch, s.last_seq FROM gateway.stream s
  WHERE s.session_id = $1
    AND NOT EXISTS (SELECT FROM gateway.transcription t WHERE t.session_id = $1 AND t.state <> 'STOPPED')
), stray AS (
  DELETE FROM gateway.stray_final d USING free WHERE d.session_id = free.session_id
  RETURNING d.utterance_id, d.transcription_id, d.data
), numbered AS MATERIALIZED (
  SELECT f.session_id, f.last_seq + row_number() OVER (ORDER BY t."startedAt", y.utterance_id) AS seq, f.epoch,
         y.utterance_id, y.transcription_id, y.data
  FROM stray y CROSS JOIN free f
       JOIN app."TranscriptSegment" t ON t."videoSessionId" = f.session_id AND t."utteranceId" = y.utterance_id
  WHERE NOT EXISTS (
    SELECT FROM gateway.transcript_event e WHERE e.session_id = f.session_id AND e.utterance_id = y.utterance_id
  )
), event AS (
  INSERT INTO gateway.transcript_event AS e (session_id, seq, epoch, utterance_id, transcription_id, data, created_at)
  SELECT session_id, seq, epoch, utterance_id, transcription_id, data, $2 FROM numbered ORDER BY seq
  RETURNING {final_told}
), mark AS (
  UPDATE gateway.stream s SET last_seq = m.seq
  FROM (SELECT max(seq) AS seq FROM numbered) m
  WHERE s.session_id = $1 AND m.seq IS NOT NULL
), speaker AS (
  SELECT DISTINCT transcription_id, data->>'participantIdentity' AS identity FROM numbered
), total AS (
  SELECT m.usage_id,
         (SELECT count(*) FROM numbered n
          WHERE n.transcription_id = m.transcription_id AND n.data->>'participantIdentity' = m.identity)
         + (SELECT count(*) FROM gateway.transcript_event e
            WHERE e.session_id = $1 AND e.transcription_id = m.transcription_id
              AND e.data->>'participantIdentity' = m.identity) AS finals
  FROM speaker JOIN gateway.transcription_usage m USING (transcription_id, identity)
), usage AS (
  UPDATE app."TranscriptionUsage" u
  SET "finalTranscripts" = t.finals, "transcriptsReceived" = t.finals + u."partialTranscripts",
      "updatedAt" = greatest(u."updatedAt", $2 AT TIME ZONE 'UTC')
  FROM total t WHERE u.id = t.usage_id AND u."finalTranscripts" < t.finals
)
SELECT seq, utterance_id, data FROM numbered ORDER BY seq
