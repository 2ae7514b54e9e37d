-- Translations of finals. `seq` counts 1, 2, 3 … for each target language of a session, in the order in which they were
-- stored behind their final; NULL while the final is not stored. `data` is what watchers see, without both numbers.
CREATE TABLE gateway.translation (
    session_id   text        NOT NULL,
    utterance_id text        NOT NULL,
    language     text        NOT NULL,
    seq          bigint,
    data         jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (session_id, utterance_id, language)
);
CREATE UNIQUE INDEX translation_number ON gateway.translation (session_id, language, seq) WHERE seq IS NOT NULL;
CREATE INDEX translation_waiting ON gateway.translation (session_id) WHERE seq IS NULL;
