-- What the provider keeps of a session that was deleted here. From `erase_at` on it is to be deleted there; NULL: it is
-- wanted, or nothing more is tried. `erasures`: attempts so far. `erased_at`: the provider has confirmed it.
ALTER TABLE gateway.provider_session
    ADD COLUMN erase_at  timestamptz,
    ADD COLUMN erasures  integer NOT NULL DEFAULT 0,
    ADD COLUMN erased_at timestamptz;
CREATE INDEX provider_session_to_erase ON gateway.provider_session (erase_at) WHERE erase_at IS NOT NULL;
CREATE INDEX provider_session_of_session ON gateway.provider_session (session_id);
