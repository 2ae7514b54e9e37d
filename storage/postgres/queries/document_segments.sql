-- In spoken order, page by page. What the app has changed in a segment goes before what was heard; the event adds
-- number, times on the session's clock and words, where there is one.
SELECT t.id, t."participantId", t."utteranceId", t.text, t.language, t."startedAt", t."endedAt", p.identity, p.name, e.seq,
       e.data, w.translations
FROM app."TranscriptSegment" t
     LEFT JOIN app."Participant" p ON p.id = t."participantId"
     LEFT JOIN gateway.transcript_event e ON e.session_id = t."videoSessionId" AND e.utterance_id = t."utteranceId"
     LEFT JOIN LATERAL (
       SELECT jsonb_object_agg(language, data->>'text') AS translations FROM gateway.translation
       WHERE session_id = t."videoSessionId" AND utterance_id = t."utteranceId" AND seq IS NOT NULL
     ) w ON true
WHERE t."videoSessionId" = $1 AND t."isFinal" AND ($2::timestamp IS NULL OR (t."startedAt", t.id) > ($2, $3))
ORDER BY t."startedAt", t.id
LIMIT $4
