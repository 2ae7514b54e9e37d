-- Finals that a former owner had shown and could not store before another one numbered on: their segments are there, and
-- here is what watchers see of them, until they get the next free numbers, when nobody numbers the session.
CREATE TABLE gateway.stray_final (
    session_id       text        NOT NULL,
    utterance_id     text        NOT NULL,
    transcription_id text        NOT NULL,
    data             jsonb       NOT NULL,
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (session_id, utterance_id)
);
