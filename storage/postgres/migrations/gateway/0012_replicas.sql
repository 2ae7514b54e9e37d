-- Any number of gateways: who lives, and what a session's watchers may resume from when its owner has died.

-- One row a process, renewed by a beat; `id` is a transcription's `owner`. The clock is the database's. `run` changes with
-- every start, and whenever a replica has lost its row; `lost_at` is set by the one that finds it lapsed, and no beat takes
-- it back. Every beat writes the row, so there is room for its next version on the page, and no index on what changes.
CREATE TABLE gateway.replica (
    id         text             PRIMARY KEY,
    run        text             NOT NULL,
    process    text             NOT NULL,
    version    text             NOT NULL,
    url        text,
    lease_s    double precision NOT NULL,
    started_at timestamptz      NOT NULL,
    beat_at    timestamptz      NOT NULL,
    lost_at    timestamptz,
    draining   boolean          NOT NULL DEFAULT false,
    sessions   integer          NOT NULL DEFAULT 0,
    tracks     integer          NOT NULL DEFAULT 0,
    watchers   integer          NOT NULL DEFAULT 0,
    capacity   integer          NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The owner's run that took the transcription, which it keeps while that run beats. NULL: taken by a version that does not
-- beat; then `lease_until` decides. It is renewed all the same, seldom, so that such a version leaves the row alone.
ALTER TABLE gateway.transcription ADD COLUMN owner_run text;

-- Former numberings of a session, each good up to its last durable final: up to there it is the one of today.
CREATE TABLE gateway.stream_epoch (
    session_id text   NOT NULL,
    epoch      text   NOT NULL,
    until_seq  bigint NOT NULL,
    PRIMARY KEY (session_id, epoch)
);

-- The transcription that a place serves: whoever adopts that one takes over its places.
ALTER TABLE gateway.provider_place ADD COLUMN transcription_id text;
CREATE INDEX provider_place_of_transcription ON gateway.provider_place (transcription_id);
