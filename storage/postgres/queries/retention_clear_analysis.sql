UPDATE app."SessionAnalysis" SET summary = NULL, "tasksJson" = NULL, "risksJson" = NULL, "updatedAt" = $2
WHERE "sessionId" = $1 AND (summary IS NOT NULL OR "tasksJson" IS NOT NULL OR "risksJson" IS NOT NULL)
