SELECT t.session_id, t.utterance_id, t.language, t.seq, e.seq AS of_seq, t.data
FROM gateway.transcript_event e
     JOIN gateway.translation t ON t.session_id = e.session_id AND t.utterance_id = e.utterance_id
WHERE e.session_id = $1 AND e.seq BETWEEN $2 AND $3 AND t.language = $4 AND t.seq IS NOT NULL
ORDER BY e.seq
