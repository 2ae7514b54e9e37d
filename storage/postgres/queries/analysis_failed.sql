UPDATE app."SessionAnalysis" SET status = 'FAILED', "updatedAt" = $2 WHERE id = $1 AND status = 'RUNNING'
