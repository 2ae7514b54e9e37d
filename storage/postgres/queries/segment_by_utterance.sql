SELECT {segment}, p.identity, p.name
FROM app."TranscriptSegment" t LEFT JOIN app."Participant" p ON p.id = t."participantId"
WHERE t."videoSessionId" = $1 AND t."utteranceId" = $2
