SELECT {replica} FROM gateway.replica
WHERE lost_at IS NULL AND beat_at > clock_timestamp() - lease_s * interval '1 second'
ORDER BY started_at, id
