WITH ending AS (DELETE FROM gateway.session_ending WHERE session_id = $1),
     visits AS (DELETE FROM gateway.room_visit WHERE session_id = $1)
DELETE FROM gateway.session_join WHERE session_id = $1
