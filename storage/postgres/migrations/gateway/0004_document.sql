-- The transcript document of a session: which blob store has it or is to have it, and what is still to be done.
--
-- The row is there before the blob is, and goes after it: no document can be lost sight of. One row a store, because a
-- setting may change where documents go while old ones stay where they are.
CREATE TABLE gateway.document (
    session_id text        NOT NULL,
    place      text        NOT NULL,
    key        text        NOT NULL,  -- holds a secret, so that nobody guesses the URL of a public store
    wanted_at  timestamptz NOT NULL,  -- what was said before this moment has to be in it
    ready_at   timestamptz,           -- when the one that is kept was begun
    removing   boolean     NOT NULL DEFAULT false,
    busy_until timestamptz NOT NULL,  -- until then somebody may be writing the blob
    tries      integer     NOT NULL DEFAULT 0,
    next_try   timestamptz NOT NULL,
    PRIMARY KEY (session_id, place)
);
CREATE INDEX document_to_do ON gateway.document (next_try) WHERE removing OR ready_at IS NULL OR ready_at < wanted_at;
