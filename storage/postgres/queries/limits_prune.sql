DELETE FROM gateway.usage_day WHERE day < $1
