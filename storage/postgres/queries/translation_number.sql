-- Those whose final is there get the next numbers of their language. The caller holds the sessions (translation_hold).
WITH fit AS MATERIALIZED (
  SELECT t.session_id, t.utterance_id, t.language, e.seq AS of_seq,
         coalesce((SELECT max(m.seq) FROM gateway.translation m
                   WHERE m.session_id = t.session_id AND m.language = t.language AND m.seq IS NOT NULL), 0)
         + row_number() OVER (PARTITION BY t.session_id, t.language ORDER BY e.seq) AS seq
  FROM gateway.translation t
       JOIN gateway.transcript_event e ON e.session_id = t.session_id AND e.utterance_id = t.utterance_id
  WHERE t.session_id = ANY($1::text[]) AND t.seq IS NULL
), numbered AS (
  UPDATE gateway.translation t SET seq = f.seq FROM fit f
  WHERE (t.session_id, t.utterance_id, t.language) = (f.session_id, f.utterance_id, f.language)
  RETURNING t.session_id, t.utterance_id, t.language, t.seq, f.of_seq, t.data
)
SELECT * FROM numbered ORDER BY session_id, language, seq
