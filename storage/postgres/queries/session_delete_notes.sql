WITH ending AS (DELETE FROM gateway.session_ending WHERE session_id = $1)
DELETE FROM gateway.session_join WHERE session_id = $1
