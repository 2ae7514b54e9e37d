SELECT c.relname AS table, r.name AS "right"
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
     unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) r(name)
WHERE n.oid = to_regnamespace($1) AND c.relname = any($2::text[]) AND c.relkind IN ('r', 'p')
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, r.name)
