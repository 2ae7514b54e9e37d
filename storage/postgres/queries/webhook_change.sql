UPDATE gateway.webhook w SET url = $2, events = $3, space_id = $4, description = $5, disabled_at = $6, disabled_reason = $7
WHERE w.id = $1
RETURNING {webhook}
