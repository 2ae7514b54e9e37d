-- Seconds of audio that were given up unheard, in all; grows while it runs.
ALTER TABLE gateway.transcription ADD COLUMN lost_audio_s double precision NOT NULL DEFAULT 0;
