SELECT id FROM gateway.provider_session WHERE id = ANY($1::text[])
