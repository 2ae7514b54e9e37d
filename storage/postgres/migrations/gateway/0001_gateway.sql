-- What the gateway keeps beyond the app's tables, in a schema of its own that the app's migrations never look at.
--
-- Nothing here has a foreign key to a table of the app: the app deletes its sessions when it likes, in statements that
-- know nothing of us, and must never fail because of a row of ours. session_id is therefore a plain column, and rows
-- whose session is gone are harmless.

-- The numbering of one session's finals. last_seq only grows; epoch names the numbering, origin is its moment zero.
CREATE TABLE gateway.stream (
    session_id text        PRIMARY KEY,
    epoch      text        NOT NULL,
    origin     timestamptz NOT NULL,
    last_seq   bigint      NOT NULL DEFAULT 0
);

-- One row per run of transcription. Whoever is `owner` until `lease_until` may write; `fence` grows with every change
-- of owner, and the statement that stores finals compares it, so that a stale owner is refused where its rows would land.
CREATE TABLE gateway.transcription (
    id              text        PRIMARY KEY,
    session_id      text        NOT NULL,
    session_slug    text        NOT NULL,
    source          text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('STARTING', 'RUNNING', 'WAITING', 'STOPPING', 'STOPPED')),
    options         jsonb       NOT NULL,
    stream_key      text        UNIQUE,
    started_at      timestamptz NOT NULL,
    stopped_at      timestamptz,
    stop_reason     text,
    finals_complete boolean,
    owner           text        NOT NULL,
    fence           bigint      NOT NULL,
    lease_until     timestamptz NOT NULL  -- in no index: renewing a lease stays a HOT update
);
CREATE UNIQUE INDEX transcription_running ON gateway.transcription (session_id) WHERE state <> 'STOPPED';
CREATE INDEX transcription_of_session ON gateway.transcription (session_id, started_at);

-- The finals, numbered without a hole. `data` is the payload as watchers receive it.
CREATE TABLE gateway.transcript_event (
    session_id       text        NOT NULL,
    seq              bigint      NOT NULL CHECK (seq > 0),
    epoch            text        NOT NULL,
    utterance_id     text        NOT NULL,
    transcription_id text        NOT NULL,
    data             jsonb       NOT NULL,
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (session_id, seq),
    UNIQUE (session_id, utterance_id)
);

-- Every session opened with the speech provider, so that none is left running and the bill can be compared.
CREATE TABLE gateway.provider_session (
    id               text             PRIMARY KEY,
    transcription_id text             NOT NULL,
    session_id       text             NOT NULL,
    identity         text             NOT NULL,
    opened_at        timestamptz      NOT NULL,
    closed_at        timestamptz,
    seconds_sent     double precision NOT NULL DEFAULT 0,
    billing_seconds  double precision,
    outcome          text
);
CREATE INDEX provider_session_of_transcription ON gateway.provider_session (transcription_id);

-- "TranscriptionUsage" knows neither its transcription nor an identity without a Participant row.
CREATE TABLE gateway.transcription_usage (
    usage_id         text PRIMARY KEY,
    transcription_id text NOT NULL,
    identity         text NOT NULL,
    UNIQUE (transcription_id, identity)
);

-- Billing records of sessions that were deleted: "TranscriptionUsage" as it last stood, and whose it was.
CREATE TABLE gateway.usage_archive (
    id                   text             PRIMARY KEY,
    video_session_id     text             NOT NULL,
    session_slug         text             NOT NULL,
    space_id             text             NOT NULL,
    transcription_id     text,
    identity             text,
    participant_id       text,
    user_id              text,
    started_at           timestamptz      NOT NULL,
    ended_at             timestamptz,
    duration_seconds     integer          NOT NULL,
    duration_minutes     integer          NOT NULL,
    audio_chunks_sent    integer          NOT NULL,
    transcripts_received integer          NOT NULL,
    final_transcripts    integer          NOT NULL,
    partial_transcripts  integer          NOT NULL,
    cost_per_minute      double precision NOT NULL,
    total_cost           double precision NOT NULL,
    errors_count         integer          NOT NULL,
    created_at           timestamptz      NOT NULL,
    updated_at           timestamptz      NOT NULL,
    archived_at          timestamptz      NOT NULL
);
CREATE INDEX usage_archive_of_space ON gateway.usage_archive (space_id, started_at);
