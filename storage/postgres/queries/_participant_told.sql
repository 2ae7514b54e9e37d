jsonb_build_object('participantIdentity', p.identity, 'participantName', p.name, 'userId', p."userId", 'role', p.role)
