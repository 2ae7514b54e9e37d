-- The endpoint of the setting. What it had to wait for while it was not set goes on; one that answered 410 stays off until its
-- address changes.
INSERT INTO gateway.webhook AS w (id, url, events, secrets, created_at) VALUES ($1, $2, $3, '{}', $4)
ON CONFLICT (id) DO UPDATE SET url = excluded.url, disabled_at = NULL, disabled_reason = NULL
WHERE w.url <> excluded.url OR w.disabled_reason = $5
