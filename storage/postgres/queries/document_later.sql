UPDATE gateway.document SET next_try = $3 WHERE session_id = $1 AND place = $2
