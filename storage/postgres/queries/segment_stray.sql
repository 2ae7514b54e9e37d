-- Finals that people have seen and that can have no number any more, because another owner numbers the session. Kept as
-- segments, unless that owner has heard the same speaker at the same time: then it has their words.
WITH batch AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                       $7::timestamp[], $8::timestamp[], $9::timestamp[])
    AS b(id, session_id, participant_id, utterance_id, text, language, started_at, ended_at, created_at)
), alive AS MATERIALIZED (
  SELECT v.id FROM app."VideoSession" v WHERE v.id IN (SELECT session_id FROM batch) ORDER BY v.id FOR KEY SHARE
), known AS MATERIALIZED (
  SELECT p.id FROM app."Participant" p
  WHERE p.id IN (SELECT participant_id FROM batch WHERE participant_id IS NOT NULL)
    AND p."videoSessionId" IN (SELECT id FROM alive)
  ORDER BY p.id FOR KEY SHARE
)
INSERT INTO app."TranscriptSegment"
  (id, "videoSessionId", "participantId", "utteranceId", text, language, "isFinal", "startedAt", "endedAt", "createdAt")
SELECT b.id, b.session_id, k.id, b.utterance_id, b.text, b.language, true, b.started_at, b.ended_at, b.created_at
FROM batch b JOIN alive a ON a.id = b.session_id LEFT JOIN known k ON k.id = b.participant_id
WHERE NOT EXISTS (
  SELECT FROM app."TranscriptSegment" t
  WHERE t."videoSessionId" = b.session_id AND t."participantId" IS NOT DISTINCT FROM k.id
    AND t."startedAt" < b.ended_at AND coalesce(t."endedAt", t."startedAt") > b.started_at
)
ORDER BY b.session_id, b.utterance_id
ON CONFLICT ("videoSessionId", "utteranceId") DO NOTHING
