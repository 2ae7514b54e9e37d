UPDATE gateway.provider_session
SET closed_at = coalesce(closed_at, $2), seconds_sent = greatest(seconds_sent, $3),
    seconds_resent = greatest(seconds_resent, $4), outcome = coalesce(outcome, $5),
    audit_at = CASE WHEN closed_at IS NULL THEN $2 ELSE audit_at END
WHERE id = $1
