{report_items}, keyed AS (
  SELECT *, {report_billed} AS billed_seconds, (CASE $6::text
    WHEN 'day' THEN to_char(started_at, 'YYYY-MM-DD')
    WHEN 'month' THEN to_char(started_at, 'YYYY-MM')
    WHEN 'space' THEN space_id
    WHEN 'user' THEN coalesce(user_id, '')
    WHEN 'session' THEN session_id END) COLLATE "C" AS key
  FROM chosen c
)
-- As `report_each`, a row a group. What a group's rows do not share is left out. $7: the last key of the page before.
SELECT CASE $6 WHEN 'day' THEN key END AS day, CASE $6 WHEN 'month' THEN key END AS month,
       CASE WHEN $6 IN ('session', 'space') THEN min(space_id) END AS space_id,
       CASE $6 WHEN 'user' THEN min(user_id) END AS user_id,
       CASE $6 WHEN 'session' THEN min(session_id) END AS session_id,
       CASE $6 WHEN 'session' THEN min(session_slug) END AS session_slug,
       CASE $6 WHEN 'session' THEN min(title) END AS title,
       NULL AS identity, NULL AS participant_name, NULL AS tags,
       CASE $6 WHEN 'session' THEN to_char(min(started_at), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END AS started_at,
       NULL AS ended_at, bool_or(is_deleted) AS is_deleted, {report_sums}, key
FROM keyed
WHERE $7::text IS NULL OR key > $7
GROUP BY key ORDER BY key LIMIT $8
