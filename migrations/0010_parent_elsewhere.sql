-- The id of the trace that this one was made from, where that trace is not in this database: it came in a cassette.
ALTER TABLE traces ADD COLUMN parent_id TEXT;
