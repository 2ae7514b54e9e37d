-- How the analysis of a session is being worked on; what the app sees of it is its own "SessionAnalysis". A row here is
-- made when the analysis is first taken. `fence` grows with every taking and every retry, so that whoever was given up as
-- lost cannot write its result any more. As everywhere in this schema, no foreign key: the app deletes when it likes.
CREATE TABLE gateway.analysis_job (
    analysis_id text        PRIMARY KEY,
    session_id  text        NOT NULL,
    fence       bigint      NOT NULL,
    attempts    integer     NOT NULL,  -- takings since the last retry that somebody asked for
    due_at      timestamptz NOT NULL,  -- while PENDING: not to be taken before
    lease_until timestamptz,           -- while RUNNING: lost when this is over; else null
    method      text        CHECK (method IN ('model', 'extractive')),
    reason      text                   -- why the last attempt failed
);
CREATE INDEX analysis_job_of_session ON gateway.analysis_job (session_id);
