INSERT INTO app."SessionAnalysis" (id, "sessionId", status, "createdAt", "updatedAt")
SELECT $1, v.id, 'PENDING', $3, $3 FROM app."VideoSession" v WHERE v.id = $2 AND v.status = 'ENDED'
ON CONFLICT ("sessionId") DO NOTHING
