SELECT id, fence FROM gateway.transcription
WHERE owner = $1 AND owner_run IS NOT DISTINCT FROM $2 AND state <> 'STOPPED'
