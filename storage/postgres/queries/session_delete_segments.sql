DELETE FROM app."TranscriptSegment" WHERE "videoSessionId" = $1
