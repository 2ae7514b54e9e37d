SELECT s.session_id, t.id AS transcription_id, t.fence, t.owner, t.state, s.epoch, s.origin, s.last_seq, {former}
FROM gateway.stream s
CROSS JOIN LATERAL (
    SELECT id, fence, owner, state FROM gateway.transcription
    WHERE session_id = s.session_id
    ORDER BY started_at DESC, id DESC LIMIT 1
) t
WHERE s.session_id = ANY($1::text[])
