-- How much was transcribed on each day (UTC), for limits that begin anew every day. Independent of the app's rows, so that
-- deleting a session gives nothing back. `seconds_before`: what the meter had when the day began for it.
CREATE TABLE gateway.usage_day (
    day              date        NOT NULL,
    usage_id         text        NOT NULL,
    transcription_id text        NOT NULL,
    space_id         text        NOT NULL,
    user_id          text,       -- who created the session
    seconds_before   integer     NOT NULL,
    seconds          integer     NOT NULL,
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (day, usage_id)
);
CREATE INDEX usage_day_of_space ON gateway.usage_day (space_id, day);
CREATE INDEX usage_day_of_user ON gateway.usage_day (user_id, day) WHERE user_id IS NOT NULL;

-- What differs from the settings in one space; null: as the settings say.
CREATE TABLE gateway.space_limits (
    space_id              text             PRIMARY KEY,
    transcription         boolean,
    session_minutes       double precision CHECK (session_minutes >= 0),
    user_minutes_per_day  double precision CHECK (user_minutes_per_day >= 0),
    space_minutes_per_day double precision CHECK (space_minutes_per_day >= 0),
    updated_at            timestamptz      NOT NULL
);
