-- In spoken order.
SELECT {segment}, p.identity, p.name
FROM app."TranscriptSegment" t LEFT JOIN app."Participant" p ON p.id = t."participantId"
WHERE t."videoSessionId" = $1 AND (t."isFinal" OR NOT $2)
ORDER BY t."startedAt", t."createdAt", t.id
