-- A server quotes what it complains about.
UPDATE gateway.analysis_job SET reason = NULL WHERE session_id = $1 AND reason IS NOT NULL
