DELETE FROM gateway.transcription t WHERE t.session_id = $1
RETURNING t.id, coalesce(nullif(t.options -> 'tags', 'null'), '[]') AS tags,
  CASE WHEN t.state <> 'STOPPED' THEN gateway.webhook_tell('transcription.stopped', t.session_id, t.session_slug,
    (SELECT v."spaceId" FROM app."VideoSession" v WHERE v.id = t.session_id), clock_timestamp(), jsonb_build_object(
      'transcriptionId', t.id, 'reason', 'the session was deleted', 'finalsComplete', false, 'finals', NULL)) END
