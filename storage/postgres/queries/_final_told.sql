CASE WHEN EXISTS (SELECT FROM gateway.webhook w WHERE w.disabled_at IS NULL AND 'transcript.final' = ANY (w.events)) THEN (
    SELECT gateway.webhook_tell('transcript.final', v.id, v.slug, v."spaceId", e.created_at, jsonb_build_object(
      'seq', e.seq, 'epoch', e.epoch, 'utteranceId', e.utterance_id, 'transcriptionId', e.transcription_id) || (
      SELECT coalesce(jsonb_object_agg(d.key, d.value), '{}') FROM jsonb_each(e.data) d
      WHERE d.key IN ('participantIdentity', 'participantName', 'language', 'startMs', 'endMs')))
    FROM app."VideoSession" v WHERE v.id = e.session_id) END
