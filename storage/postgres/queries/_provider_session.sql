id, transcription_id, session_id, identity, opened_at, closed_at, seconds_sent, seconds_resent, billing_seconds, outcome
