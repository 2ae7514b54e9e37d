p.id, p."videoSessionId", p."userId", p.identity, p.name, p.role::text AS role, p."joinedAt", p."leftAt"
