SELECT s.id FROM app."VideoSession" s WHERE s.id = any($1::text[]) AND s.status IN ('ENDED', 'EXPIRED')
