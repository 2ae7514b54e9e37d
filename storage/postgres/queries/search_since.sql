-- When the newest line before a moment was said, and the one $2 lines behind it.
SELECT (SELECT said_at FROM gateway.search_line WHERE said_at < $1 ORDER BY said_at DESC LIMIT 1) AS newest,
       (SELECT said_at FROM gateway.search_line WHERE said_at < $1 ORDER BY said_at DESC OFFSET $2 LIMIT 1) AS start
