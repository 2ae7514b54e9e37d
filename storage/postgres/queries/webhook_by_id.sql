SELECT {webhook} FROM gateway.webhook w WHERE w.id = $1
