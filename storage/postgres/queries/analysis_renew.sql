UPDATE gateway.analysis_job SET lease_until = clock_timestamp() + $3 * interval '1 second'
WHERE analysis_id = $1 AND fence = $2 AND lease_until IS NOT NULL
