SELECT count(*) FROM gateway.transcript_event WHERE session_id = $1
