{transcription_joined}
WHERE t.owner = $1 AND t.owner_run = $2 AND t.state <> 'STOPPED' AND t.lease_until > to_timestamp(0)
ORDER BY t.started_at, t.id
