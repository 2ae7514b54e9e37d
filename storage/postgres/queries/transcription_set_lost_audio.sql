UPDATE gateway.transcription SET lost_audio_s = $3 WHERE id = $1 AND fence = $2 AND state <> 'STOPPED'
