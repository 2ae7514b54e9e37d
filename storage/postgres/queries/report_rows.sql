{report_items}, keyed AS (
  SELECT *, (CASE $6::text
    WHEN 'day' THEN to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
    WHEN 'month' THEN to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM')
    WHEN 'space' THEN space_id
    WHEN 'user' THEN coalesce(user_id, '')
    WHEN 'session' THEN session_id
    ELSE to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '/' || id END) COLLATE "C" AS key
  FROM chosen
)
-- What a group's rows do not share is left out. $7: the last key of the page before.
SELECT {report_sums}, key,
       CASE WHEN $6 IN ('row', 'session') THEN min(session_id) END AS session_id,
       CASE WHEN $6 IN ('row', 'session') THEN min(session_slug) END AS session_slug,
       CASE WHEN $6 IN ('row', 'session') THEN min(title) END AS title,
       CASE WHEN $6 IN ('row', 'session', 'space') THEN min(space_id) END AS space_id,
       CASE WHEN $6 IN ('row', 'user') THEN min(user_id) END AS user_id,
       CASE WHEN $6 = 'row' THEN min(identity) END AS identity,
       CASE WHEN $6 = 'row' THEN min(participant_name) END AS participant_name,
       CASE WHEN $6 = 'row' THEN min(tags) END AS tags,
       CASE WHEN $6 IN ('row', 'session') THEN gateway.moment(min(started_at)) END AS started_at,
       CASE WHEN $6 = 'row' THEN gateway.moment(min(ended_at)) END AS ended_at,
       bool_or(is_deleted) AS is_deleted
FROM keyed
WHERE $7::text IS NULL OR key > $7
GROUP BY key ORDER BY key LIMIT $8
