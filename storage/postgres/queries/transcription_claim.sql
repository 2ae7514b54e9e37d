-- A second claim at the same moment waits here for the first to commit, then inserts nothing.
INSERT INTO gateway.transcription
  (id, session_id, session_slug, source, state, options, stream_key, started_at, owner, fence, lease_until)
VALUES ($1, $2, $3, $4, 'STARTING', $5, $6, $7, $8, 1, $9)
ON CONFLICT (session_id) WHERE state <> 'STOPPED' DO NOTHING
