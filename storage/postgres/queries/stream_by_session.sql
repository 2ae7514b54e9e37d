SELECT session_id, epoch, origin, last_seq FROM gateway.stream WHERE session_id = $1
