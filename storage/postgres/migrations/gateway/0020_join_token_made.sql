-- When the join token was made: who keeps one of another time knows that it lets nobody in. NULL: by an older version.
ALTER TABLE gateway.session_join ADD COLUMN made_at timestamptz;
