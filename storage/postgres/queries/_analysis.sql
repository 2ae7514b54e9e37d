a.id, a."sessionId", a.status::text AS status, a."createdAt", a."updatedAt", a.summary, a."tasksJson", a."risksJson",
j.method, j.reason, coalesce(j.attempts, 0) AS attempts
