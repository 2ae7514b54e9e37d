UPDATE gateway.provider_session
SET closed_at = coalesce(closed_at, $2), seconds_sent = greatest(seconds_sent, $3), outcome = coalesce(outcome, $4)
WHERE id = $1
