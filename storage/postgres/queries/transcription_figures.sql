SELECT {transcription}, s.epoch, s.origin, s.last_seq, {former}, f.finals, f.partials, f.cost
FROM gateway.transcription t JOIN gateway.stream s ON s.session_id = t.session_id
     CROSS JOIN LATERAL (
       SELECT coalesce(sum(u."finalTranscripts"), 0)::int AS finals, coalesce(sum(u."partialTranscripts"), 0)::int AS partials,
              coalesce(sum(u."totalCost"), 0)::double precision AS cost
       FROM gateway.transcription_usage m JOIN app."TranscriptionUsage" u ON u.id = m.usage_id
       WHERE m.transcription_id = t.id) f
WHERE t.state <> 'STOPPED'
ORDER BY t.started_at DESC, t.id DESC LIMIT $1
