-- What was heard, and what of it the voice-activity gate kept from the provider, beside the usage of a participant.
-- Seconds. The defaults serve rows of a version that knows nothing of receipts.
ALTER TABLE gateway.transcription_usage
    ADD COLUMN gate           text             NOT NULL DEFAULT 'off' CHECK (gate IN ('off', 'shadow', 'on')),
    ADD COLUMN heard_seconds  double precision NOT NULL DEFAULT 0,
    ADD COLUMN speech_seconds double precision NOT NULL DEFAULT 0,
    ADD COLUMN silent_seconds double precision NOT NULL DEFAULT 0,
    ADD COLUMN kept_seconds   double precision NOT NULL DEFAULT 0;
