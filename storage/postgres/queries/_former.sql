(SELECT coalesce(jsonb_object_agg(f.epoch, f.until_seq), '{}') FROM gateway.stream_epoch f WHERE f.session_id = s.session_id)
  AS former
