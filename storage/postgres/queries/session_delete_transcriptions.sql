DELETE FROM gateway.transcription WHERE session_id = $1
RETURNING id, coalesce(nullif(options -> 'tags', 'null'), '[]') AS tags
