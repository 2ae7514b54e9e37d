p.xmax = 0 OR (SELECT o."leftAt" FROM app."Participant" o WHERE o.id = p.id) IS NOT NULL
