SELECT e.session_id, e.seq, e.epoch, e.utterance_id, e.transcription_id, e.data, e.created_at
FROM unnest($1::text[], $2::bigint[]) AS w(session_id, seq)
CROSS JOIN LATERAL (
    SELECT * FROM gateway.transcript_event
    WHERE session_id = w.session_id AND seq > w.seq
    ORDER BY seq LIMIT $3
) e
