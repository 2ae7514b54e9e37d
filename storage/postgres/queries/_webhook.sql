w.id, w.url, w.events, w.space_id, w.description, w.secrets, w.former_until, w.created_at, w.disabled_at, w.disabled_reason
