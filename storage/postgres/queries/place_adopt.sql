-- The adopter has the places of what it has taken over; the queue behind them does not move.
UPDATE gateway.provider_place SET process = $1, lease_until = clock_timestamp() + $3 * interval '1 second'
WHERE transcription_id = ANY($2::text[]) AND granted_at IS NOT NULL
RETURNING id, transcription_id
