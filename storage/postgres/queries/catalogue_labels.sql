SELECT t.typname AS enum, e.enumlabel AS label
FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
WHERE t.typnamespace = to_regnamespace($1)
