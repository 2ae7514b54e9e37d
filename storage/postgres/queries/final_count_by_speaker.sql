SELECT data->>'participantIdentity' AS identity, count(*) AS finals FROM gateway.transcript_event
WHERE session_id = $1 AND transcription_id = $2
GROUP BY 1
