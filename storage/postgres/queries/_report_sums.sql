count(*)::int AS rows, coalesce(sum(duration_seconds), 0)::bigint AS duration_seconds,
coalesce(sum(duration_minutes), 0)::bigint AS duration_minutes, coalesce(sum(total_cost::numeric), 0)::float8 AS total_cost,
sum(billed_seconds)::float8 AS billed_seconds, coalesce(sum(cost_saved), 0)::float8 AS cost_saved
