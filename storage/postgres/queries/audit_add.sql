INSERT INTO gateway.audit (at, who_kind, who, what, session_slug, subject, address) VALUES ($1, $2, $3, $4, $5, $6, $7)
