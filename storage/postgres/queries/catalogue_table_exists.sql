-- Not to_regclass: that wants USAGE on the schema, and here the question is only whether the table is there.
SELECT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = to_regnamespace($1) AND c.relname = $2)
