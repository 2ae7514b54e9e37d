-- Ask for places, and renew those asked for before. An heir stands where its senior stands. A granted row that is missing
-- has run out while the database was away: its holder still has its session, so it comes back granted.
INSERT INTO gateway.provider_place (id, account, process, asked_at, granted_at, lease_until)
SELECT asked.id, $1, $2,
       coalesce(senior.asked_at, clock_timestamp() + asked.number * interval '1 microsecond'),
       CASE WHEN asked.granted THEN clock_timestamp() END,
       clock_timestamp() + $6 * interval '1 second'
FROM unnest($3::text[], $4::text[], $5::bool[]) WITH ORDINALITY AS asked (id, senior, granted, number)
LEFT JOIN gateway.provider_place senior ON senior.id = asked.senior
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
