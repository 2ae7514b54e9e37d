DELETE FROM gateway.audit WHERE id IN (SELECT a.id FROM gateway.audit a WHERE a.at < $1 ORDER BY a.at LIMIT $2)
