-- The prices by which a trace was summed up: at other ones its cost is made anew when it is listed.
ALTER TABLE trace_facts ADD COLUMN prices TEXT NOT NULL DEFAULT '';
