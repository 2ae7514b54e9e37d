SELECT {analysis}
FROM app."SessionAnalysis" a LEFT JOIN gateway.analysis_job j ON j.analysis_id = a.id
WHERE a."sessionId" = $1
