{report_items}
-- Each row by itself. $6: the last key of the page before. What only the reader sees is worked out behind the sort: for
-- the rows of one page, or of all while the first are on their way. Keys are for pages ($7).
SELECT NULL AS day, NULL AS month, space_id, user_id, session_id, session_slug, title, identity, participant_name,
       tags::text AS tags, to_char(started_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS started_at,
       to_char(ended_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ended_at, is_deleted, 1 AS rows, duration_seconds,
       duration_minutes, round(total_cost * 1e6) / 1e6 AS total_cost, round({report_billed} * 1e3) / 1e3 AS billed_seconds,
       round(cost_saved * 1e6) / 1e6 AS cost_saved,
       CASE WHEN $7::bigint IS NOT NULL THEN to_char(started_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') || '/' || id END AS key
FROM (
  SELECT * FROM chosen
  WHERE $6::text IS NULL OR (to_char(started_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') || '/' || id) COLLATE "C" > $6
  ORDER BY started_at, id COLLATE "C" LIMIT $7
) c
