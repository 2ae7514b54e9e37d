(SELECT sum(b.billing_seconds) FROM gateway.provider_session b
 WHERE b.transcription_id = c.transcription_id AND b.identity = c.identity)
