INSERT INTO gateway.space_limits
  (space_id, transcription, session_minutes, user_minutes_per_day, space_minutes_per_day, updated_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (space_id) DO UPDATE SET
  transcription = excluded.transcription, session_minutes = excluded.session_minutes,
  user_minutes_per_day = excluded.user_minutes_per_day, space_minutes_per_day = excluded.space_minutes_per_day,
  updated_at = excluded.updated_at
