-- Sessions whose guests may not read them any more once they are over. No row: they may.
CREATE TABLE gateway.session_kept (
    session_id text PRIMARY KEY
);
