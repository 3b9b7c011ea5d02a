-- Load runs: what came of each, as `load --json` prints it. Their loops are traces with the tag load=ID.
CREATE TABLE load_runs (
  key             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT NOT NULL UNIQUE,
  kind            TEXT NOT NULL,    -- run, capacity, vary
  scenario        TEXT,             -- its name
  started_unix_us INTEGER NOT NULL,
  codec           INTEGER NOT NULL, -- of `report`: 0 as it is, 1 zstd
  size            INTEGER NOT NULL,
  report          BLOB NOT NULL     -- JSON
);
CREATE INDEX load_runs_by_time ON load_runs (started_unix_us);
