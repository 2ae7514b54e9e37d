-- Repeated, because an answer was lost, it finds the run stopped under this fence and leaves it as it is.
UPDATE gateway.transcription SET
  state = 'STOPPED',
  stopped_at = CASE WHEN state = 'STOPPED' THEN stopped_at ELSE $3 END,
  stop_reason = CASE WHEN state = 'STOPPED' THEN stop_reason ELSE $4 END,
  finals_complete = CASE WHEN state = 'STOPPED' THEN finals_complete ELSE $5 END
WHERE id = $1 AND fence = $2
