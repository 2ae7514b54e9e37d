-- Oldest first; two workers never take the same one. RUNNING for longer than its worker can live counts as lost.
UPDATE app."SessionAnalysis" a SET status = 'RUNNING', "updatedAt" = $1
FROM (SELECT id FROM app."SessionAnalysis"
      WHERE status = 'PENDING' OR (status = 'RUNNING' AND "updatedAt" < $2)
      ORDER BY "createdAt", id LIMIT 1 FOR UPDATE SKIP LOCKED) next
WHERE a.id = next.id
RETURNING {analysis}
