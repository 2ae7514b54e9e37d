t.id, t."videoSessionId", t."participantId", t."utteranceId", t.text, t.language, t."isFinal", t."startedAt", t."endedAt",
t."createdAt"
