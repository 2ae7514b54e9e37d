d.id, d.endpoint_id, d.event_id, d.type, d.lane, d.at, d.data, d.status, d.attempts, d.created_at, d.due_at, d.settled_at,
d.answer, d.trouble
