DELETE FROM app."Participant" WHERE "videoSessionId" = $1
