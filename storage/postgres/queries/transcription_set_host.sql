-- Not fenced: people choose the host, through whichever replica.
UPDATE gateway.transcription SET host = $2 WHERE id = $1 AND state <> 'STOPPED'
