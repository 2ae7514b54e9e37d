SELECT c.relname AS table, array_agg(a.attname::text ORDER BY k.n) AS columns
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
     CROSS JOIN unnest(x.indkey::int2[]) WITH ORDINALITY k(attnum, n)
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE c.relnamespace = to_regnamespace($1) AND x.indisunique AND x.indisvalid AND x.indpred IS NULL
GROUP BY x.indexrelid, c.relname
