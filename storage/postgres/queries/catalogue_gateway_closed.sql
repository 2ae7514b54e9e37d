-- Our own tables that this role cannot use fully, because another role made them.
SELECT c.relname AS table
FROM pg_class c
WHERE c.relnamespace = to_regnamespace('gateway') AND c.relkind IN ('r', 'p')
  AND NOT (has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
           AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
           AND has_table_privilege(c.oid, 'DELETE'))
ORDER BY c.relname
