DELETE FROM app."SessionAnalysis" WHERE "sessionId" = $1
