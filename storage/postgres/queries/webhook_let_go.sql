-- Not sent after all: another one may, at once.
UPDATE gateway.webhook_delivery SET due_at = clock_timestamp() WHERE id = $1 AND attempts = $2 AND status = 'pending'
