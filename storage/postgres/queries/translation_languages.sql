-- Those that a transcription of the session has asked for, and those that there are.
SELECT jsonb_array_elements_text(coalesce(t.options->'translateTo', '[]')) AS language
FROM gateway.transcription t WHERE t.session_id = $1
UNION
SELECT DISTINCT language FROM gateway.translation WHERE session_id = $1
