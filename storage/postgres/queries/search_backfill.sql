-- Lines of at most $1 older finals. One replica at a time; a final that is being deleted is waited for, or waits for us and takes its
-- line with it.
WITH mark AS MATERIALIZED (
  SELECT session_id, seq FROM gateway.search_backfill FOR UPDATE SKIP LOCKED
), batch AS MATERIALIZED (
  SELECT e.* FROM mark m CROSS JOIN LATERAL (
    SELECT * FROM gateway.transcript_event
    WHERE (session_id, seq) > (m.session_id, m.seq)
    ORDER BY session_id, seq LIMIT $1 FOR KEY SHARE) e
), added AS MATERIALIZED (
  SELECT gateway.search_add(array_agg(ROW(b.*)::gateway.transcript_event)) FROM batch b HAVING count(*) > 0
), moved AS (
  UPDATE gateway.search_backfill SET (session_id, seq) = (
    SELECT session_id, seq FROM batch ORDER BY session_id DESC, seq DESC LIMIT 1)
  WHERE EXISTS (SELECT FROM batch)
), over AS (
  DELETE FROM gateway.search_backfill WHERE EXISTS (SELECT FROM mark) AND NOT EXISTS (SELECT FROM batch)
)
SELECT (SELECT count(*) FROM batch, added)::int AS lines, EXISTS (SELECT FROM gateway.search_backfill) AS is_left
