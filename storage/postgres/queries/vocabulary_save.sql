INSERT INTO gateway.space_vocabulary (space_id, words, spelling, updated_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (space_id) DO UPDATE SET
  words = excluded.words, spelling = excluded.spelling, updated_at = excluded.updated_at
