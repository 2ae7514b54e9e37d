-- What the app is told over HTTP: who wants to hear what, and what is still to be said (an outbox).

-- `id` 'setting' is the endpoint of GATEWAY_WEBHOOK_URL; its secrets stay in the environment. `secrets`: the newest first, the
-- second one signs as well until `former_until`. NULL in `space_id`: of all spaces.
CREATE TABLE gateway.webhook (
    id              text        PRIMARY KEY,
    url             text        NOT NULL,
    events          text[]      NOT NULL,
    space_id        text,
    description     text,
    secrets         text[]      NOT NULL,
    former_until    timestamptz,
    created_at      timestamptz NOT NULL,
    disabled_at     timestamptz,
    disabled_reason text
);

-- One row an event and endpoint, in the order of sending; `event_id` is the receiver's `webhook-id`, the same for all endpoints
-- and in every replay. Of one `lane` (the session) only the oldest pending row is sent. `due_at` is also the lease of whoever
-- sends it now; `attempts` grows with every taking and is the fence of its outcome.
CREATE TABLE gateway.webhook_delivery (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id text        NOT NULL,
    event_id    text        NOT NULL,
    type        text        NOT NULL,
    lane        text        NOT NULL,
    at          timestamptz NOT NULL,
    data        jsonb       NOT NULL,
    status      text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts    integer     NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at  timestamptz,
    answer      integer,  -- HTTP status of the last attempt
    trouble     text
);
CREATE INDEX webhook_delivery_due ON gateway.webhook_delivery (endpoint_id, due_at) WHERE status = 'pending';
CREATE INDEX webhook_delivery_lane ON gateway.webhook_delivery (endpoint_id, lane, id) WHERE status = 'pending';
CREATE INDEX webhook_delivery_listed ON gateway.webhook_delivery (endpoint_id, id);
CREATE INDEX webhook_delivery_of_lane ON gateway.webhook_delivery (lane);
CREATE INDEX webhook_delivery_old ON gateway.webhook_delivery (created_at);

-- Called by the statement that makes the fact, so that both are stored or neither: one row for each endpoint that wants it.
CREATE FUNCTION gateway.webhook_tell(
    event text, session text, slug text, space text, moment timestamptz, more jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    one text;
BEGIN
    IF NOT EXISTS (SELECT FROM gateway.webhook w WHERE w.disabled_at IS NULL AND event = ANY (w.events)) THEN
        RETURN false;
    END IF;
    one := 'msg_' || replace(gen_random_uuid()::text, '-', '');
    INSERT INTO gateway.webhook_delivery (endpoint_id, event_id, type, lane, at, data)
    SELECT w.id, one, event, session, moment,
           jsonb_build_object('sessionSlug', slug, 'sessionId', session, 'spaceId', space) || more
    FROM gateway.webhook w
    WHERE w.disabled_at IS NULL AND event = ANY (w.events) AND (w.space_id IS NULL OR w.space_id = space);
    RETURN true;
END
$$;

-- A moment in the contract's spelling.
CREATE FUNCTION gateway.moment(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(date_trunc('milliseconds', at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- What the owner last found wrong, as watchers see it; and when all provider sessions of a closed transcription had their bills.
ALTER TABLE gateway.transcription
    ADD COLUMN health        text[] NOT NULL DEFAULT '{}',
    ADD COLUMN reconciled_at timestamptz;
