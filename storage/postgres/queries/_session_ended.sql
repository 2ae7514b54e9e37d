gateway.webhook_tell('session.ended', s.id, s.slug, s."spaceId", clock_timestamp(), jsonb_build_object('status', s.status,
  'startedAt', gateway.moment(s."startedAt" AT TIME ZONE 'UTC'), 'endedAt', gateway.moment(s."endedAt" AT TIME ZONE 'UTC')))
