DELETE FROM gateway.provider_place
WHERE account = $1 AND (id = ANY($3::text[]) OR (process <> $2 AND lease_until < clock_timestamp()))
