-- A lost replica that owns nothing any more. One that comes back enters anew.
DELETE FROM gateway.replica r
WHERE r.lost_at < clock_timestamp() - interval '1 minute'
  AND NOT EXISTS (SELECT FROM gateway.transcription t
                  WHERE t.owner = r.id AND t.owner_run = r.run AND t.state <> 'STOPPED')
