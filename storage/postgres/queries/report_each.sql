{report_items}
-- Each row by itself, as `report_rows` has it for 'row'. $6: the last key of the page before. A key begins with the moment.
SELECT 1 AS rows, duration_seconds::bigint, duration_minutes::bigint, total_cost::numeric::float8 AS total_cost,
       billed_seconds::float8, cost_saved::float8, key, session_id, session_slug, title, space_id, user_id, identity,
       participant_name, tags, left(key, 23) || 'Z' AS started_at, gateway.moment(ended_at) AS ended_at, is_deleted
FROM (
  SELECT *, (to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '/' || id) COLLATE "C" AS key
  FROM chosen
) keyed
WHERE $6::text IS NULL OR key > $6
ORDER BY key LIMIT $7
