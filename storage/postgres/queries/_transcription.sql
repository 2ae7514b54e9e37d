t.id, t.session_id, t.session_slug, t.source, t.state, t.options, t.stream_key, t.started_at, t.stopped_at, t.stop_reason,
t.finals_complete, t.owner, t.fence, t.lease_until, t.lost_audio_s
