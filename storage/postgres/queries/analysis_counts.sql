SELECT status::text AS status, count(*) AS count FROM app."SessionAnalysis"
WHERE status IN ('PENDING', 'RUNNING', 'FAILED') GROUP BY status
