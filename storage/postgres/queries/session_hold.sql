-- No transcription of it begins until our transaction is over (transcription_claim takes FOR SHARE).
SELECT id FROM app."VideoSession" WHERE id = $1 FOR NO KEY UPDATE
