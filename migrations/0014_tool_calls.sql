-- Tool calls of which somebody said what became of them: a hook, a shim, or a replay that answered them. Those that are
-- known from the model traffic alone have no row.
CREATE TABLE tool_calls (
  trace            INTEGER NOT NULL REFERENCES traces (key) ON DELETE CASCADE,
  seq              INTEGER NOT NULL, -- the order in which they became known
  name             TEXT NOT NULL,
  call_id          TEXT,             -- the model's
  arguments_digest INTEGER NOT NULL,
  via              TEXT,             -- who executed it
  source           TEXT NOT NULL,    -- measured, recorded, static, denied
  started_us       INTEGER NOT NULL,
  ended_us         INTEGER,          -- NULL: its result never came
  outcome          TEXT,             -- ok, null, error, timeout, aborted
  codec            INTEGER NOT NULL, -- of `said`: 0 as it is, 1 zstd
  size             INTEGER NOT NULL,
  said             BLOB NOT NULL,    -- JSON: arguments, end
  PRIMARY KEY (trace, seq)
) WITHOUT ROWID;
