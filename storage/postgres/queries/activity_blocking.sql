-- Who holds a lock for which statements of the program $1 have waited for more than $2 seconds, and waits for nobody itself.
-- What is of other roles is only seen by members of pg_read_all_stats: then program and state are null.
SELECT b.pid, b.application_name AS program, b.state, count(*)::int AS waiting,
       extract(epoch FROM clock_timestamp() - b.xact_start)::float8 AS seconds
FROM pg_stat_activity w
CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS blocking (pid)
JOIN pg_stat_activity b ON b.pid = blocking.pid
WHERE w.datname = current_database() AND w.application_name = $1 AND w.wait_event_type = 'Lock'
  AND clock_timestamp() - w.query_start > $2 * interval '1 second'
  AND cardinality(pg_blocking_pids(b.pid)) = 0
GROUP BY b.pid, b.application_name, b.state, b.xact_start
ORDER BY waiting DESC, b.pid
LIMIT 1
