gateway.webhook_tell('participant.joined', p."videoSessionId", (SELECT slug FROM live), (SELECT "spaceId" FROM live),
    $7::timestamp AT TIME ZONE 'UTC', {participant_told})
