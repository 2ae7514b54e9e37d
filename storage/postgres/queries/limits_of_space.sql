SELECT transcription, session_minutes, user_minutes_per_day, space_minutes_per_day
FROM gateway.space_limits WHERE space_id = $1
