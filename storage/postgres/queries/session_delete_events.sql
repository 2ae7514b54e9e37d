WITH stray AS (DELETE FROM gateway.stray_final WHERE session_id = $1),
     translation AS (DELETE FROM gateway.translation WHERE session_id = $1)
DELETE FROM gateway.transcript_event WHERE session_id = $1
