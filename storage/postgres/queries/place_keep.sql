-- Ask for places, and renew those asked for before. An heir stands where its senior stands. A granted row that is missing
-- has run out while the database was away: its holder still has its session, so it comes back granted.
-- One time for all: rows may be made in any order. The lock was waited for in a statement before this one.
INSERT INTO gateway.provider_place (id, account, process, asked_at, granted_at, lease_until, transcription_id)
SELECT asked.id, $1, $2,
       coalesce(senior.asked_at, statement_timestamp() + asked.number * interval '1 microsecond'),
       CASE WHEN asked.granted THEN clock_timestamp() END,
       clock_timestamp() + $6 * interval '1 second', asked.transcription_id
FROM unnest($3::text[], $4::text[], $5::bool[], $7::text[]) WITH ORDINALITY
     AS asked (id, senior, granted, transcription_id, number)
LEFT JOIN gateway.provider_place senior ON senior.id = asked.senior
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
