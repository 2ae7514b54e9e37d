UPDATE app."SessionAnalysis"
SET status = 'DONE', summary = $2, "tasksJson" = $3, "risksJson" = $4, "updatedAt" = $5
WHERE id = $1 AND status = 'RUNNING'
