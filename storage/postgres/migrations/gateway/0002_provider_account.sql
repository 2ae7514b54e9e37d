-- The account at the speech provider, over all replicas: whose turn it is, and sessions that outlive their process.

-- `url` holds the only credential that the session's socket asks for: it is never logged, and removed when the provider
-- says that the session is done. `process` names one run of one replica. From `audit_at` on the provider's own account of
-- the session is to be read; NULL while it is open, and when there is nothing left to learn.
ALTER TABLE gateway.provider_session
    ADD COLUMN account        text,
    ADD COLUMN process        text,
    ADD COLUMN url            text,
    ADD COLUMN seconds_resent double precision NOT NULL DEFAULT 0,
    ADD COLUMN audit_at       timestamptz,
    ADD COLUMN audits         integer          NOT NULL DEFAULT 0;
CREATE INDEX provider_session_left_open ON gateway.provider_session (opened_at) WHERE closed_at IS NULL;
CREATE INDEX provider_session_to_audit ON gateway.provider_session (audit_at) WHERE audit_at IS NOT NULL;

-- The right to have one session open at the provider, or a place in the queue for it: first asked, first granted. Rows
-- whose lease ran out belong to a dead process. The clock is the database's.
CREATE TABLE gateway.provider_place (
    id          text        PRIMARY KEY,
    account     text        NOT NULL,
    process     text        NOT NULL,
    asked_at    timestamptz NOT NULL,
    granted_at  timestamptz,
    lease_until timestamptz NOT NULL
);
CREATE INDEX provider_place_queue ON gateway.provider_place (account, asked_at);
