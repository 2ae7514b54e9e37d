gateway.webhook_tell('participant.left', v.id, v.slug, v."spaceId", p."leftAt" AT TIME ZONE 'UTC', {participant_told})
