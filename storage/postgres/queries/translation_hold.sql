-- One writer at a time numbers the translations of a session; whoever comes next sees its numbers. Also behind a
-- transaction pooler: the locks end with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended(id, 7247342))
FROM (SELECT DISTINCT id FROM unnest($1::text[]) AS s(id) ORDER BY id) s
