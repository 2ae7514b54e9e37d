-- The numbers above last_seq may have been shown for finals that only a former owner has: another numbering from here. Up to
-- there the former one, and those before it, stay good; what went before that had a smaller end already.
WITH begun AS (SELECT * FROM unnest($1::text[], $2::text[]) AS n(session_id, epoch)),
former AS (
  INSERT INTO gateway.stream_epoch (session_id, epoch, until_seq)
  SELECT s.session_id, s.epoch, s.last_seq FROM gateway.stream s JOIN begun USING (session_id)
  ON CONFLICT (session_id, epoch) DO NOTHING
)
UPDATE gateway.stream s SET epoch = n.epoch FROM begun n WHERE s.session_id = n.session_id
