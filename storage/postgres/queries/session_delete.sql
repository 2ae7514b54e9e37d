-- Before its end was told: told now.
DELETE FROM app."VideoSession" s WHERE id = $1
RETURNING CASE WHEN s.status IN ('CREATED', 'LIVE') THEN gateway.webhook_tell('session.ended', s.id, s.slug, s."spaceId",
  clock_timestamp(), jsonb_build_object('status', 'DELETED',
    'startedAt', gateway.moment(s."startedAt" AT TIME ZONE 'UTC'), 'endedAt', gateway.moment(clock_timestamp()))) END
