-- For reports over all transcriptions: what a deleted session's row saved, and the tags that it was started with.
ALTER TABLE gateway.usage_archive
    ADD COLUMN tags         text[]           NOT NULL DEFAULT '{}',
    ADD COLUMN kept_seconds double precision NOT NULL DEFAULT 0;
CREATE INDEX usage_archive_started ON gateway.usage_archive (started_at);
CREATE INDEX provider_session_of_speaker ON gateway.provider_session (transcription_id, identity);
