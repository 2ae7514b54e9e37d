SELECT id, session_id, CASE WHEN state <> 'STOPPED' THEN owner END AS owner FROM gateway.transcription WHERE id = ANY($1::text[])
