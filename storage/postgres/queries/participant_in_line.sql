-- $1: JSON, a list of (session_id, host, without). Of each session at most three: its host, who would come next, and anybody else.
SELECT {participant}
FROM jsonb_to_recordset($1) AS asked (session_id text, host text, without text[]), LATERAL (
  (SELECT * FROM app."Participant" h
   WHERE h."videoSessionId" = asked.session_id AND h."leftAt" IS NULL AND h.identity = asked.host)
  UNION
  (SELECT * FROM app."Participant" n
   WHERE n."videoSessionId" = asked.session_id AND n."leftAt" IS NULL
     AND n.identity IS DISTINCT FROM asked.host AND n.identity <> ALL (asked.without)
   ORDER BY n.role::text <> 'HOST', n."joinedAt", n.identity LIMIT 1)
  UNION
  (SELECT * FROM app."Participant" o
   WHERE o."videoSessionId" = asked.session_id AND o."leftAt" IS NULL AND o.identity IS DISTINCT FROM asked.host LIMIT 1)
) p
