-- Every document of a session has to go, wherever it is.
UPDATE gateway.document SET removing = true, tries = 0, next_try = $2 WHERE session_id = $1
RETURNING place, key
