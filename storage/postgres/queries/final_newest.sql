SELECT coalesce(max(seq), 0) FROM gateway.transcript_event WHERE session_id = $1
