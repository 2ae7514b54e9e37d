-- One that outlives its session, which was deleted meanwhile, is not wanted either.
UPDATE gateway.provider_session p
SET closed_at = coalesce(closed_at, $2), seconds_sent = greatest(seconds_sent, $3),
    seconds_resent = greatest(seconds_resent, $4), outcome = coalesce(outcome, $5),
    audit_at = CASE WHEN closed_at IS NULL THEN $2 ELSE audit_at END,
    erase_at = CASE WHEN closed_at IS NULL AND erase_at IS NULL
                         AND NOT EXISTS (SELECT FROM app."VideoSession" v WHERE v.id = p.session_id)
                    THEN $2 ELSE erase_at END
WHERE id = $1
