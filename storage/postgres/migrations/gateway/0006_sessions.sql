-- What the sessions module keeps beyond the app's tables. Like everything here: no foreign key to a table of the app.

-- Sessions whose guests must show a join token. Of the token only its hash is kept; it has 192 random bits.
CREATE TABLE gateway.session_join (
    session_id   text  PRIMARY KEY,
    token_sha256 bytea NOT NULL
);

-- What still has to follow the end of a session (stop, document, analysis). Written with the end itself, in one
-- transaction, and removed when all of it is done: a crash in between loses nothing.
CREATE TABLE gateway.session_ending (
    session_id text        PRIMARY KEY,
    due_at     timestamptz NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0
);
CREATE INDEX session_ending_due ON gateway.session_ending (due_at);

-- Work that one replica at a time does for all of them: whose it is, and until when unless renewed.
CREATE TABLE gateway.duty (
    name  text        PRIMARY KEY,
    owner text        NOT NULL,
    until timestamptz NOT NULL
);
