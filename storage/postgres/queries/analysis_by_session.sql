SELECT {analysis} FROM app."SessionAnalysis" a WHERE a."sessionId" = $1
