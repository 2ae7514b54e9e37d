UPDATE gateway.transcription t SET health = $3::text[]
WHERE id = $1 AND fence = $2 AND state <> 'STOPPED' AND health <> $3::text[]
RETURNING gateway.webhook_tell(CASE $3::text[] WHEN '{}' THEN 'transcription.recovered' ELSE 'transcription.degraded' END,
  session_id, session_slug, (SELECT v."spaceId" FROM app."VideoSession" v WHERE v.id = session_id), $4::timestamptz,
  jsonb_build_object('transcriptionId', id, 'reasons', to_jsonb($3::text[])))
