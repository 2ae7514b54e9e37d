gateway.webhook_tell('session.started', v.id, v.slug, v."spaceId", v."startedAt" AT TIME ZONE 'UTC', '{}')
