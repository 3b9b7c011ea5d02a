-- The history before a request's last assistant turn; NULL where an older version derived the facts.
ALTER TABLE calls ADD COLUMN before_turn INTEGER;
