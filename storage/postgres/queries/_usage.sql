u.id, m.transcription_id, coalesce(m.identity, p.identity) AS identity, u."videoSessionId" AS session_id, u."participantId",
u."userId", u."startedAt", u."endedAt", u."durationSeconds", u."durationMinutes", u."audioChunksSent",
u."transcriptsReceived", u."finalTranscripts", u."partialTranscripts", u."costPerMinute", u."totalCost", u."errorsCount",
u."createdAt", u."updatedAt"
