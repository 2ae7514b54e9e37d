-- The numbers above last_seq may have been shown for finals that only a former owner has: another numbering from here.
UPDATE gateway.stream s SET epoch = n.epoch
FROM unnest($1::text[], $2::text[]) AS n(session_id, epoch)
WHERE s.session_id = n.session_id
