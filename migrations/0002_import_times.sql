-- What the times of a trace's calls are worth (measured, stated, starts_only, durations_only, order_only),
-- and, for an import whose file says so, when it happened: its row's own start is the import's.
ALTER TABLE traces ADD COLUMN timing TEXT NOT NULL DEFAULT 'measured';
ALTER TABLE traces ADD COLUMN happened_unix_us INTEGER;
UPDATE traces SET timing = 'order_only' WHERE source = 'import';
