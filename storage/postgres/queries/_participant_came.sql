-- Inserted (no older version of the row), or back after having left: what a subquery sees is from before the statement.
p.xmax = 0 OR (SELECT o."leftAt" FROM app."Participant" o WHERE o.id = p.id) IS NOT NULL
