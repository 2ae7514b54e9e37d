-- A start of session $1 was refused, for the reason $2 at $3: told, unless webhooks were told the same since $4.
SELECT gateway.webhook_tell('limit.reached', v.id, v.slug, v."spaceId", $3, jsonb_build_object('transcriptionId', NULL, 'reason', $2::text))
FROM app."VideoSession" v
WHERE v.id = $1 AND NOT EXISTS (
  SELECT FROM gateway.webhook_delivery d
  WHERE d.lane = v.id AND d.type = 'limit.reached' AND d.at > $4 AND d.data ->> 'reason' = $2::text
)
