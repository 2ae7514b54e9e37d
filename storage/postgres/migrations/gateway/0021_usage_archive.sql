-- For reports, which choose rows by when they were created, as of "TranscriptionUsage".
CREATE INDEX usage_archive_created ON gateway.usage_archive (created_at);
