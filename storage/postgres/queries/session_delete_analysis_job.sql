DELETE FROM gateway.analysis_job WHERE session_id = $1
