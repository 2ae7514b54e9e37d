DELETE FROM gateway.duty WHERE name = $1 AND owner = $2
