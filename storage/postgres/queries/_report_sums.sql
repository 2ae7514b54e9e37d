count(*)::int AS rows, coalesce(sum(duration_seconds), 0)::bigint AS duration_seconds,
coalesce(sum(duration_minutes), 0)::bigint AS duration_minutes,
round(coalesce(sum(total_cost::numeric), 0), 6)::float8 AS total_cost,
round(sum(billed_seconds) * 1e3) / 1e3 AS billed_seconds, round(coalesce(sum(cost_saved), 0) * 1e6) / 1e6 AS cost_saved
