s.id, s.slug, s.title, s."createdByUserId", s.status::text AS status, s."createdAt", s."startedAt", s."endedAt",
s."lastActivityAt", s."spaceId", s."rawTranscriptBlobUrl", s."rawTranscriptSizeBytes", s."rawTranscriptReadyAt"
