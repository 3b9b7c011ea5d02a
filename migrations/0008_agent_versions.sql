-- Which version of its agent a trace is of; and the traces of one agent in their order, which cohorts are made of.
ALTER TABLE traces ADD COLUMN agent_version TEXT;
CREATE INDEX traces_by_agent ON traces (agent, started_unix_us) WHERE agent IS NOT NULL;
