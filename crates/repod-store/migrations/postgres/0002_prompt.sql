-- The beginning of what a turn was asked, for people; `input` is let go when it is over.
ALTER TABLE agent_turns ADD COLUMN prompt TEXT NOT NULL DEFAULT '';
