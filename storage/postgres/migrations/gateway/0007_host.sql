-- The identity whose browser feeds a transcription with source websocket; null while nobody does.
ALTER TABLE gateway.transcription ADD COLUMN host text;
