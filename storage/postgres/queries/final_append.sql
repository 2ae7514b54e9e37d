-- A batch of finals: the numbered event, the app's segment and the mark of the highest number, in one statement.
--
-- Locks, always in this order: transcription (SHARE: a new owner's fence waits for us, or we see it), session,
-- participant (KEY SHARE: neither can be deleted under us). A segment is written only with a new event, so a batch
-- sent twice changes nothing, not even a segment that the app has edited meanwhile.
WITH batch AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::timestamp[], $11::timestamp[], $12::jsonb[], $13::timestamptz[], $14::text[])
    WITH ORDINALITY AS b(transcription_id, fence, session_id, epoch, seq, participant_id, utterance_id, text,
                         language, started_at, ended_at, data, created_at, segment_id, n)
), owned AS MATERIALIZED (
  SELECT t.id, t.fence, t.session_id FROM gateway.transcription t
  WHERE (t.id, t.fence, t.session_id) IN (SELECT transcription_id, fence, session_id FROM batch)
  ORDER BY t.id FOR SHARE
), alive AS MATERIALIZED (
  SELECT v.id FROM app."VideoSession" v
  WHERE v.id IN (SELECT session_id FROM owned)
  ORDER BY v.id FOR KEY SHARE
), known AS MATERIALIZED (
  SELECT p.id FROM app."Participant" p
  WHERE p.id IN (SELECT participant_id FROM batch WHERE participant_id IS NOT NULL)
    AND p."videoSessionId" IN (SELECT id FROM alive)
  ORDER BY p.id FOR KEY SHARE
), fit AS MATERIALIZED (
  SELECT b.* FROM batch b JOIN owned o ON o.id = b.transcription_id AND o.fence = b.fence AND o.session_id = b.session_id
                          JOIN alive a ON a.id = b.session_id
), event AS (
  INSERT INTO gateway.transcript_event AS e (session_id, seq, epoch, utterance_id, transcription_id, data, created_at)
  SELECT session_id, seq, epoch, utterance_id, transcription_id, data, created_at FROM fit ORDER BY n
  ON CONFLICT DO NOTHING
  RETURNING e.session_id, e.seq, e.utterance_id, {final_told}
), segment AS (
  INSERT INTO app."TranscriptSegment" AS t
    (id, "videoSessionId", "participantId", "utteranceId", text, language, "isFinal", "startedAt", "endedAt", "createdAt")
  SELECT DISTINCT ON (f.session_id, f.utterance_id)
         f.segment_id, f.session_id, k.id, f.utterance_id, f.text, f.language, true, f.started_at, f.ended_at,
         f.created_at AT TIME ZONE 'UTC'
  FROM fit f JOIN event e USING (session_id, seq, utterance_id) LEFT JOIN known k ON k.id = f.participant_id
  ORDER BY f.session_id, f.utterance_id, f.n
  ON CONFLICT ("videoSessionId", "utteranceId") DO UPDATE SET
    text = excluded.text, language = coalesce(excluded.language, t.language), "isFinal" = true,
    "startedAt" = excluded."startedAt", "endedAt" = coalesce(excluded."endedAt", t."endedAt"),
    "participantId" = coalesce(excluded."participantId", t."participantId")
), mark AS (
  UPDATE gateway.stream s SET last_seq = greatest(s.last_seq, m.seq)
  FROM (SELECT session_id, max(seq) AS seq FROM event GROUP BY session_id) m
  WHERE s.session_id = m.session_id
)
SELECT b.n, CASE WHEN o.id IS NULL THEN 'fenced' WHEN a.id IS NULL THEN 'gone' WHEN e.seq IS NOT NULL THEN 'stored'
                 ELSE 'present' END AS outcome
FROM batch b
     LEFT JOIN owned o ON o.id = b.transcription_id AND o.fence = b.fence AND o.session_id = b.session_id
     LEFT JOIN alive a ON a.id = b.session_id
     LEFT JOIN event e ON e.session_id = b.session_id AND e.seq = b.seq AND e.utterance_id = b.utterance_id
