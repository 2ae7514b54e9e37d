-- Finding transcriptions without an owner costs nothing while there are none: by the id of a lost replica, and those that
-- nobody's run holds.
CREATE INDEX transcription_of_owner ON gateway.transcription (owner) WHERE state <> 'STOPPED';
CREATE INDEX transcription_of_no_run ON gateway.transcription (id) WHERE state <> 'STOPPED' AND owner_run IS NULL;
