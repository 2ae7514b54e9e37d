WITH ending AS (DELETE FROM gateway.session_ending WHERE session_id = $1),
     kept AS (DELETE FROM gateway.session_kept WHERE session_id = $1),
     visits AS (DELETE FROM gateway.room_visit WHERE session_id = $1),
     told AS (DELETE FROM gateway.webhook_delivery WHERE lane = $1 AND status <> 'pending')
DELETE FROM gateway.session_join WHERE session_id = $1
