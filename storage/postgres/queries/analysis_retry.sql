UPDATE app."SessionAnalysis" SET status = 'PENDING', "updatedAt" = $2 WHERE "sessionId" = $1 AND status = 'FAILED'
