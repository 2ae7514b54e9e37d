WITH epochs AS (DELETE FROM gateway.stream_epoch WHERE session_id = $1)
DELETE FROM gateway.stream WHERE session_id = $1
