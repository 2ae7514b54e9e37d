UPDATE gateway.analysis_job SET lease_until = $3 WHERE analysis_id = $1 AND fence = $2 AND lease_until IS NOT NULL
