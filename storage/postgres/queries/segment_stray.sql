-- Finals that people have seen and whose number another owner of the session has given away, kept as segments. What that
-- owner has heard as well is taken out of them (`stray_near`, `stray_trim`); `stray_number` numbers them.
WITH batch AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                       $7::timestamp[], $8::timestamp[], $9::timestamp[], $10::text[], $11::jsonb[])
    AS b(id, session_id, participant_id, utterance_id, text, language, started_at, ended_at, created_at,
         transcription_id, data)
), alive AS MATERIALIZED (
  SELECT v.id FROM app."VideoSession" v WHERE v.id IN (SELECT session_id FROM batch) ORDER BY v.id FOR KEY SHARE
), known AS MATERIALIZED (
  SELECT p.id FROM app."Participant" p
  WHERE p.id IN (SELECT participant_id FROM batch WHERE participant_id IS NOT NULL)
    AND p."videoSessionId" IN (SELECT id FROM alive)
  ORDER BY p.id FOR KEY SHARE
), segment AS (
  INSERT INTO app."TranscriptSegment" AS s
    (id, "videoSessionId", "participantId", "utteranceId", text, language, "isFinal", "startedAt", "endedAt", "createdAt")
  SELECT b.id, b.session_id, k.id, b.utterance_id, b.text, b.language, true, b.started_at, b.ended_at, b.created_at
  FROM batch b JOIN alive a ON a.id = b.session_id LEFT JOIN known k ON k.id = b.participant_id
  ORDER BY b.session_id, b.utterance_id
  ON CONFLICT ("videoSessionId", "utteranceId") DO UPDATE SET
    text = excluded.text, language = coalesce(excluded.language, s.language), "isFinal" = true,
    "startedAt" = excluded."startedAt", "endedAt" = coalesce(excluded."endedAt", s."endedAt"),
    "participantId" = coalesce(excluded."participantId", s."participantId")
    WHERE NOT s."isFinal"
  RETURNING "videoSessionId" AS session_id, "utteranceId" AS utterance_id
)
INSERT INTO gateway.stray_final (session_id, utterance_id, transcription_id, data, created_at)
SELECT b.session_id, b.utterance_id, b.transcription_id, b.data, b.created_at AT TIME ZONE 'UTC'
FROM batch b JOIN segment s USING (session_id, utterance_id)
ON CONFLICT (session_id, utterance_id) DO NOTHING
