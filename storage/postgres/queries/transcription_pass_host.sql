-- A host that a participant has chosen meanwhile stays.
UPDATE gateway.transcription SET host = $3
WHERE id = $1 AND state <> 'STOPPED' AND host IS NOT DISTINCT FROM $2
