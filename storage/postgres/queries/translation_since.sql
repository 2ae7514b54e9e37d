SELECT t.session_id, t.utterance_id, t.language, t.seq, e.seq AS of_seq, t.data
FROM gateway.translation t
     JOIN gateway.transcript_event e ON e.session_id = t.session_id AND e.utterance_id = t.utterance_id
WHERE t.session_id = $1 AND t.language = $2 AND t.seq > $3
ORDER BY t.seq LIMIT $4
