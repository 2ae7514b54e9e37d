-- Of sessions that exist; one that is deleted now waits for us, or is gone. What is stored stays as it is.
WITH batch AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[]) AS b(session_id, utterance_id, language, data)
), alive AS MATERIALIZED (
  SELECT v.id FROM app."VideoSession" v WHERE v.id IN (SELECT session_id FROM batch) ORDER BY v.id FOR KEY SHARE
)
INSERT INTO gateway.translation (session_id, utterance_id, language, data, created_at)
SELECT b.session_id, b.utterance_id, b.language, b.data, $5 FROM batch b JOIN alive a ON a.id = b.session_id
ON CONFLICT DO NOTHING
