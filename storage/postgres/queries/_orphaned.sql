t.state <> 'STOPPED' AND (
  EXISTS (SELECT FROM gateway.replica r WHERE r.id = t.owner AND r.run = t.owner_run AND r.lost_at IS NOT NULL)
  OR (t.lease_until < clock_timestamp()
      AND NOT EXISTS (SELECT FROM gateway.replica r WHERE r.id = t.owner AND r.run = t.owner_run)))
