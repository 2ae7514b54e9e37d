u.id, m.transcription_id, coalesce(m.identity, p.identity) AS identity, u."videoSessionId" AS session_id, u."participantId",
u."userId", u."startedAt", u."endedAt", u."durationSeconds", u."durationMinutes", u."audioChunksSent",
u."transcriptsReceived", u."finalTranscripts", u."partialTranscripts", u."costPerMinute", u."totalCost", u."errorsCount",
u."createdAt", u."updatedAt", coalesce(m.gate, 'off') AS gate, coalesce(m.heard_seconds, 0) AS heard_seconds,
coalesce(m.speech_seconds, 0) AS speech_seconds, coalesce(m.silent_seconds, 0) AS silent_seconds,
coalesce(m.kept_seconds, 0) AS kept_seconds
