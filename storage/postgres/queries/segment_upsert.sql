-- Safe against late partials, repeats and another writer: the WHERE looks at the newest committed row, a partial never
-- replaces a final, and a row that would not change is left alone (60 bytes of WAL instead of 700).
WITH batch AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                       $7::bool[], $8::timestamp[], $9::timestamp[], $10::timestamp[])
    AS b(id, session_id, participant_id, utterance_id, text, language, is_final, started_at, ended_at, created_at)
), alive AS MATERIALIZED (
  SELECT v.id FROM app."VideoSession" v WHERE v.id IN (SELECT session_id FROM batch) ORDER BY v.id FOR KEY SHARE
), known AS MATERIALIZED (
  SELECT p.id FROM app."Participant" p
  WHERE p.id IN (SELECT participant_id FROM batch WHERE participant_id IS NOT NULL)
    AND p."videoSessionId" IN (SELECT id FROM alive)
  ORDER BY p.id FOR KEY SHARE
), segment AS (
  INSERT INTO app."TranscriptSegment" AS t
    (id, "videoSessionId", "participantId", "utteranceId", text, language, "isFinal", "startedAt", "endedAt", "createdAt")
  SELECT b.id, b.session_id, k.id, b.utterance_id, b.text, b.language, b.is_final, b.started_at, b.ended_at, b.created_at
  FROM batch b JOIN alive a ON a.id = b.session_id LEFT JOIN known k ON k.id = b.participant_id
  ORDER BY b.session_id, b.utterance_id
  ON CONFLICT ("videoSessionId", "utteranceId") DO UPDATE SET
    text            = excluded.text,
    language        = coalesce(excluded.language, t.language),
    "isFinal"       = excluded."isFinal",
    "endedAt"       = coalesce(excluded."endedAt", t."endedAt"),
    "participantId" = coalesce(excluded."participantId", t."participantId")
  WHERE (excluded."isFinal" OR NOT t."isFinal")
    AND (t.text, t.language, t."isFinal", t."endedAt", t."participantId") IS DISTINCT FROM
        (excluded.text, coalesce(excluded.language, t.language), excluded."isFinal",
         coalesce(excluded."endedAt", t."endedAt"), coalesce(excluded."participantId", t."participantId"))
  RETURNING t.id
)
SELECT (SELECT count(*) FROM segment) AS written,
       (SELECT coalesce(array_agg(DISTINCT session_id), '{}') FROM batch
        WHERE session_id NOT IN (SELECT id FROM alive)) AS gone
