-- Who signed-in users are, as their tokens have said: an identity equal to one of these ids is that user's, in every session.
CREATE TABLE gateway.known_user (
    user_id text PRIMARY KEY
);

-- The newest connection of each participant to a LiveKit room, as webhooks tell it: a webhook of an older connection, or one
-- that comes again after the participant has left, changes nothing. `joined_ms`: of the LiveKit server's clock, since 1970.
CREATE TABLE gateway.room_visit (
    session_id text    NOT NULL,
    identity   text    NOT NULL,
    sid        text    NOT NULL,
    joined_ms  bigint  NOT NULL,
    is_over    boolean NOT NULL,
    PRIMARY KEY (session_id, identity)
);

-- Who did what. It outlives the session it is about; GATEWAY_AUDIT_DAYS says how long it is kept.
CREATE TABLE gateway.audit (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL,
    who_kind     text        NOT NULL,
    who          text        NOT NULL,
    what         text        NOT NULL,
    session_slug text,
    subject      text,
    address      text        NOT NULL
);
CREATE INDEX audit_at ON gateway.audit (at);
CREATE INDEX audit_of_session ON gateway.audit (session_slug, id) WHERE session_slug IS NOT NULL;
