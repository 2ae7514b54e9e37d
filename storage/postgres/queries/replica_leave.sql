DELETE FROM gateway.replica WHERE id = $1 AND run = $2
