SELECT {webhook} FROM gateway.webhook w ORDER BY w.created_at, w.id
