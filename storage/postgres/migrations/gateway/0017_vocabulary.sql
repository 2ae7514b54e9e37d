-- Words and spellings that a space keeps, for all of its transcriptions.
CREATE TABLE gateway.space_vocabulary (
    space_id   text PRIMARY KEY,
    words      jsonb NOT NULL,
    spelling   jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);
