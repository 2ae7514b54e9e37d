-- Finals in which a query ($6) is found, said in [$7, $8), newest first, behind ($10, $11, $12) of the page before, of sessions that the
-- asking one may see ($1 to $5, as in `search_sessions`). $9: only of these sessions. $16: see gateway.search_lines. `matched`: how many
-- are found, whoever may see them; one row says so also when there is none to show.
WITH hit AS MATERIALIZED (
  SELECT * FROM gateway.search_lines($6::text::tsquery, $7, $8, $9, $16)
  WHERE $10::timestamptz IS NULL OR (said_at, session_id, seq) < ($10, $11::text, $12::bigint)
), seen AS MATERIALIZED (
  SELECT v.id, v.slug, v.title
  FROM (SELECT DISTINCT session_id FROM hit) h JOIN app."VideoSession" v ON v.id = h.session_id
  WHERE ($5::text IS NULL OR v."spaceId" = $5) AND {search_seen}
), page AS MATERIALIZED (
  SELECT h.*, s.slug, s.title FROM hit h JOIN seen s ON s.id = h.session_id
  ORDER BY h.said_at DESC, h.session_id DESC, h.seq DESC LIMIT $13
)
SELECT c.matched, p.session_id, p.slug, p.title, p.seq, p.said_at, e.data, e.data ->> 'text' AS text,
       gateway.search_shown(m.config, e.data ->> 'text', m.query::tsquery) AS shown
FROM (SELECT count(*)::int AS matched FROM hit) c LEFT JOIN (
       page p
       JOIN gateway.transcript_event e ON e.session_id = p.session_id AND e.seq = p.seq
       JOIN gateway.search_line l ON l.session_id = p.session_id AND l.seq = p.seq
       JOIN unnest($14::text[], $15::text[]) AS m(config, query) ON l.words @@ ('''=' || m.config || '''')::tsquery
     ) ON true
ORDER BY p.said_at DESC, p.session_id DESC, p.seq DESC
