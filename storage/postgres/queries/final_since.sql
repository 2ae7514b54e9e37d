SELECT session_id, seq, epoch, utterance_id, transcription_id, data, created_at
FROM gateway.transcript_event
WHERE session_id = $1 AND seq > $2
ORDER BY seq LIMIT $3
