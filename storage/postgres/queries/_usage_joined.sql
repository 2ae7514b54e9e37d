SELECT {usage}
FROM app."TranscriptionUsage" u
     LEFT JOIN gateway.transcription_usage m ON m.usage_id = u.id
     LEFT JOIN app."Participant" p ON p.id = u."participantId"
