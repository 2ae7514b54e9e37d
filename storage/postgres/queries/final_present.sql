SELECT e.session_id, e.seq, e.utterance_id
FROM unnest($1::text[], $2::text[]) AS b(session_id, utterance_id)
     JOIN gateway.transcript_event e USING (session_id, utterance_id)
