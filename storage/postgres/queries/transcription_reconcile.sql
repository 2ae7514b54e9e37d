-- Once: when it is stopped, and every session it had at the provider has its bill or will never have one.
UPDATE gateway.transcription t SET reconciled_at = clock_timestamp()
FROM (SELECT sum(p.billing_seconds) AS billed, sum(p.seconds_sent) AS sent, count(*) AS sessions,
             count(*) FILTER (WHERE p.billing_seconds IS NULL) AS unbilled
      FROM gateway.provider_session p WHERE p.transcription_id = $1
      HAVING count(*) > 0 AND bool_and(p.closed_at IS NOT NULL AND p.audit_at IS NULL)) bill
WHERE t.id = $1 AND t.state = 'STOPPED' AND t.reconciled_at IS NULL
RETURNING gateway.webhook_tell('usage.reconciled', t.session_id, t.session_slug,
  (SELECT v."spaceId" FROM app."VideoSession" v WHERE v.id = t.session_id), t.reconciled_at,
  jsonb_build_object('transcriptionId', t.id, 'billedSeconds', bill.billed, 'sentSeconds', bill.sent,
    'providerSessions', bill.sessions, 'unbilledSessions', bill.unbilled))
