-- Those of lost replicas and those that no run holds, by their indexes; with $1 also what neither shows: left by a run whose
-- row is gone.
SELECT t.id, t.lease_until FROM gateway.replica lost
JOIN gateway.transcription t ON t.owner = lost.id AND t.owner_run = lost.run
WHERE lost.lost_at IS NOT NULL AND t.state <> 'STOPPED'
UNION
SELECT t.id, t.lease_until FROM gateway.transcription t WHERE t.owner_run IS NULL AND {orphaned}
UNION
SELECT t.id, t.lease_until FROM gateway.transcription t WHERE $1 AND {orphaned}
ORDER BY lease_until, id LIMIT $2
