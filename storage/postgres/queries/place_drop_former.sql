DELETE FROM gateway.provider_place WHERE account = $1 AND starts_with(process, $2) AND process <> $3
