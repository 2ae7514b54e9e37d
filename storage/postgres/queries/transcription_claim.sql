-- A second claim at the same moment waits here for the first to commit, then inserts nothing. Nor does one on a session
-- that is over or gone: FOR SHARE makes an ending wait for us, or us see that it has happened.
INSERT INTO gateway.transcription
  (id, session_id, session_slug, source, state, options, stream_key, started_at, owner, fence, lease_until,
   owner_run)
SELECT $1, v.id, $3, $4, 'STARTING', $5, $6, $7, $8, 1,
       clock_timestamp() + $9 * interval '1 second', $10
FROM app."VideoSession" v WHERE v.id = $2 AND v.status NOT IN ('ENDED', 'EXPIRED') FOR SHARE
ON CONFLICT (session_id) WHERE state <> 'STOPPED' DO NOTHING
RETURNING gateway.webhook_tell('transcription.started', session_id, session_slug,
  (SELECT v."spaceId" FROM app."VideoSession" v WHERE v.id = session_id), started_at,
  jsonb_build_object('transcriptionId', id, 'source', source, 'tags', coalesce(nullif(options -> 'tags', 'null'), '[]')))
