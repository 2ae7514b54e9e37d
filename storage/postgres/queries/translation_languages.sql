-- Those that a transcription of the session has asked for, for everybody or for one participant, and those that there are.
-- What is no list, as another version may have stored it, counts as none.
SELECT jsonb_array_elements_text(wanted.targets) AS language
FROM gateway.transcription t,
     LATERAL (SELECT t.options -> 'translateTo' AS targets
              UNION ALL
              SELECT of_one.value -> 'translateTo'
              FROM jsonb_each(CASE WHEN jsonb_typeof(t.options -> 'participants') = 'object'
                                   THEN t.options -> 'participants' ELSE '{}' END) of_one) asked,
     LATERAL (SELECT CASE WHEN jsonb_typeof(asked.targets) = 'array' THEN asked.targets ELSE '[]' END AS targets) wanted
WHERE t.session_id = $1
UNION
SELECT DISTINCT language FROM gateway.translation WHERE session_id = $1
