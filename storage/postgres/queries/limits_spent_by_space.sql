SELECT coalesce(sum(seconds - seconds_before), 0)::bigint FROM gateway.usage_day WHERE space_id = $1 AND day = $2
