-- What lists show and filter by, beside the figures; NULL where an older version summed the trace up.
ALTER TABLE trace_facts ADD COLUMN outcome TEXT;
ALTER TABLE trace_facts ADD COLUMN models TEXT;      -- JSON array: that were asked for, in their order
ALTER TABLE trace_facts ADD COLUMN answered_by TEXT; -- JSON array: other names under which models answered
