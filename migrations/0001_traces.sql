-- The first schema. Raw bytes are the truth; `facts` and `trace_facts` are derived and can be made anew.
-- Times: *_unix_us is wall clock, µs since 1970; other *_us are µs since the trace's start (monotonic).

-- What must be one value for the whole database.
CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;
-- Raised whenever content ids may have gone: caches of ids are void when it changes.
INSERT INTO settings (name, value) VALUES ('content_generation', 0);

-- A process that records. A trace without an end whose recorder lives is being recorded; otherwise it
-- was cut off.
CREATE TABLE recorders (
  key             INTEGER PRIMARY KEY AUTOINCREMENT,
  pid             INTEGER NOT NULL,
  process_start   INTEGER NOT NULL, -- tells a reused pid apart
  boot_id         TEXT NOT NULL,
  version         TEXT NOT NULL,
  started_unix_us INTEGER NOT NULL
);

CREATE TABLE traces (
  key             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT NOT NULL,
  run             INTEGER NOT NULL, -- 1, 2, … among traces of the same id
  recorder        INTEGER NOT NULL REFERENCES recorders (key),
  source          TEXT NOT NULL,    -- record, serve, import, replay
  name            TEXT,
  agent           TEXT,
  tags            TEXT NOT NULL,    -- JSON object
  command         TEXT NOT NULL,    -- JSON array
  parent          INTEGER,          -- the trace that this one was made from
  parent_why      TEXT,
  started_unix_us INTEGER NOT NULL,
  started_mono_us INTEGER NOT NULL, -- CLOCK_MONOTONIC of the recorder's boot
  byte_exact      INTEGER NOT NULL DEFAULT 1 -- 0: imported from a format that does not hold the bytes
);
CREATE UNIQUE INDEX traces_by_id ON traces (id, run);
CREATE INDEX traces_by_start ON traces (started_unix_us);

-- The closing row: only a trace that has one can be complete.
CREATE TABLE trace_ends (
  trace     INTEGER PRIMARY KEY REFERENCES traces (key) ON DELETE CASCADE,
  ended_us  INTEGER NOT NULL,
  idle      INTEGER NOT NULL, -- 1: nobody ended it, it fell silent; ended_us is its last sign of life
  exit_code INTEGER,
  aborted   TEXT, -- why the run was broken off, if it was
  outcome   TEXT  -- success, failure, abandoned, unknown: if somebody said how it turned out
);

-- What the recording of a trace lacks, and why.
CREATE TABLE trace_gaps (
  trace  INTEGER NOT NULL REFERENCES traces (key) ON DELETE CASCADE,
  reason TEXT NOT NULL,
  count  INTEGER NOT NULL,
  PRIMARY KEY (trace, reason)
) WITHOUT ROWID;

-- Content, stored once. digest is BLAKE3 of the content, whatever the codec.
CREATE TABLE blobs (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL,
  codec  INTEGER NOT NULL, -- 0 as it is, 1 zstd, 2 splice of blob `base`
  base   INTEGER,
  depth  INTEGER NOT NULL DEFAULT 0, -- how many splices lie under it
  size   INTEGER NOT NULL, -- of the content
  data   BLOB NOT NULL
);
CREATE UNIQUE INDEX blobs_by_digest ON blobs (digest);

-- Chains of pieces: a node is its parent's chain and one piece more. Parent 0 is the empty chain.
CREATE TABLE nodes (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  parent INTEGER NOT NULL,
  blob   INTEGER NOT NULL
);
CREATE UNIQUE INDEX nodes_by_content ON nodes (parent, blob);

-- One row for each request, written when it starts.
CREATE TABLE exchanges (
  trace           INTEGER NOT NULL REFERENCES traces (key) ON DELETE CASCADE,
  seq             INTEGER NOT NULL,
  sent_us         INTEGER NOT NULL,
  sent_unix_us    INTEGER NOT NULL,
  provider        TEXT NOT NULL,
  method          TEXT NOT NULL,
  path            TEXT NOT NULL,
  loop_hint       TEXT,
  import_index    INTEGER,
  request_headers INTEGER NOT NULL, -- blob
  request_skeleton INTEGER NOT NULL, -- blob: the body without its cuts
  request_heads   BLOB NOT NULL,    -- varints: head node of each cut's chain
  request_digest  BLOB NOT NULL,    -- BLAKE3 of the whole body
  request_size    INTEGER NOT NULL,
  PRIMARY KEY (trace, seq)
) WITHOUT ROWID;

-- One row for each exchange that ended, written when it ends.
CREATE TABLE answers (
  trace       INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  end_us      INTEGER NOT NULL,
  ending      TEXT NOT NULL, -- complete, upstream_reset, upstream_unreachable, client_gone
  error       TEXT,
  status      INTEGER,       -- NULL: no response head came
  head_us     INTEGER,
  headers     INTEGER,       -- blob
  body        INTEGER,       -- blob
  chunks      BLOB,          -- varints: length and µs since the piece before, for each piece
  PRIMARY KEY (trace, seq),
  FOREIGN KEY (trace, seq) REFERENCES exchanges (trace, seq) ON DELETE CASCADE
) WITHOUT ROWID;

-- Derived from one exchange by version `derivation` of the decoders.
CREATE TABLE facts (
  trace                INTEGER NOT NULL,
  seq                  INTEGER NOT NULL,
  derivation           INTEGER NOT NULL,
  wire                 TEXT, -- NULL: not a model call
  model                TEXT,
  response_model       TEXT,
  service_tier         TEXT,
  stream               INTEGER NOT NULL,
  finish_reason        TEXT,
  first_event_us       INTEGER,
  first_reasoning_us   INTEGER,
  first_content_us     INTEGER,
  first_tool_call_us   INTEGER,
  last_output_us       INTEGER,
  state                TEXT NOT NULL,
  retry_count          INTEGER,
  retry_after_ms       INTEGER,
  response_bytes       INTEGER NOT NULL,
  uncached_input       INTEGER,
  cache_read           INTEGER,
  cache_write_5m       INTEGER,
  cache_write_1h       INTEGER,
  output_visible       INTEGER,
  reasoning            INTEGER,
  input_total          INTEGER,
  output_total         INTEGER,
  usage_raw            TEXT,
  stated_cost_usd      REAL,
  request_digest       INTEGER NOT NULL,
  history              INTEGER NOT NULL,
  echo                 INTEGER,
  last_turn            INTEGER,
  answer_history       INTEGER,
  answer_turn          INTEGER,
  turns                INTEGER NOT NULL,
  response_id          TEXT,
  previous_response_id TEXT,
  asks                 TEXT, -- JSON: tool calls that the answer asks for
  carries              TEXT, -- JSON: call ids of the results that the request carries
  PRIMARY KEY (trace, seq),
  FOREIGN KEY (trace, seq) REFERENCES exchanges (trace, seq) ON DELETE CASCADE
) WITHOUT ROWID;

-- Derived from a whole trace when it ended: what lists show.
CREATE TABLE trace_facts (
  trace         INTEGER PRIMARY KEY REFERENCES traces (key) ON DELETE CASCADE,
  derivation    INTEGER NOT NULL,
  steps         INTEGER NOT NULL,
  llm_calls     INTEGER NOT NULL,
  tool_calls    INTEGER NOT NULL,
  attempts      INTEGER NOT NULL,
  retries       INTEGER NOT NULL,
  duration_us   INTEGER,
  cost_usd      REAL,
  cost_at_least INTEGER NOT NULL
);
