-- Each part of a query as PostgreSQL has it in each configuration that there are lines of (none: NULL), and whether all finals
-- have theirs.
SELECT l.config, f.n::int AS n,
       CASE f.kind WHEN 'words' THEN plainto_tsquery(l.c, f.plain)
                   WHEN 'phrase' THEN phraseto_tsquery(l.c, f.plain)
                   WHEN 'prefix' THEN to_tsquery(l.c, '''' || translate(f.plain, '\''', '  ') || ''':*')
                   ELSE f.text::tsquery END::text AS query,
       a.is_complete
FROM (SELECT NOT EXISTS (SELECT FROM gateway.search_backfill) AS is_complete) a
     LEFT JOIN (SELECT config, ('pg_catalog.' || config)::regconfig AS c FROM gateway.search_language) l ON true
     CROSS JOIN LATERAL (SELECT kind, text, gateway.search_plain(text) AS plain, n
                         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS leaf(kind, text, n)) f
