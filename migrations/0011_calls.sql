-- A call is one row: the request, written when it starts, and what came of it, written with it or added later.
-- Three rows in three tables cost three times the work, and each had to find the trace again.
CREATE TABLE calls (
  key                  INTEGER PRIMARY KEY,
  trace                INTEGER NOT NULL REFERENCES traces (key) ON DELETE CASCADE,
  seq                  INTEGER NOT NULL,
  sent_us              INTEGER NOT NULL,
  sent_unix_us         INTEGER NOT NULL,
  provider             TEXT NOT NULL,
  method               TEXT NOT NULL,
  path                 TEXT NOT NULL,
  loop_hint            TEXT,
  import_index         INTEGER,
  request_headers      INTEGER NOT NULL, -- content
  request_skeleton     INTEGER NOT NULL, -- content: the body without its cuts
  request_heads        BLOB NOT NULL,    -- varints: head node of each cut's chain
  request_blake3       BLOB NOT NULL,    -- of the whole body
  request_size         INTEGER NOT NULL,
  -- How it ended; NULL: it has not.
  end_us               INTEGER,
  ending               TEXT, -- complete, upstream_reset, upstream_unreachable, client_gone
  error                TEXT,
  status               INTEGER, -- NULL: no response head came
  head_us              INTEGER,
  headers              INTEGER, -- content
  body                 INTEGER, -- content
  chunks               BLOB,    -- varints: length and µs since the piece before, for each piece
  -- Derived from it by version `derivation` of the decoders; NULL: not yet.
  derivation           INTEGER,
  wire                 TEXT, -- NULL: not a model call
  model                TEXT,
  response_model       TEXT,
  service_tier         TEXT,
  stream               INTEGER,
  finish_reason        TEXT,
  first_event_us       INTEGER,
  first_reasoning_us   INTEGER,
  first_content_us     INTEGER,
  first_tool_call_us   INTEGER,
  last_output_us       INTEGER,
  state                TEXT,
  retry_count          INTEGER,
  retry_after_ms       INTEGER,
  response_bytes       INTEGER,
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
  request_digest       INTEGER,
  history              INTEGER,
  echo                 INTEGER,
  last_turn            INTEGER,
  answer_history       INTEGER,
  answer_turn          INTEGER,
  turns                INTEGER,
  response_id          TEXT,
  previous_response_id TEXT,
  asks                 TEXT, -- JSON: tool calls that the answer asks for
  carries              TEXT  -- JSON: call ids of the results that the request carries
);
CREATE UNIQUE INDEX calls_by_trace ON calls (trace, seq);

INSERT INTO calls (
  trace, seq, sent_us, sent_unix_us, provider, method, path, loop_hint, import_index, request_headers,
  request_skeleton, request_heads, request_blake3, request_size, end_us, ending, error, status, head_us, headers,
  body, chunks, derivation, wire, model, response_model, service_tier, stream, finish_reason, first_event_us,
  first_reasoning_us, first_content_us, first_tool_call_us, last_output_us, state, retry_count, retry_after_ms,
  response_bytes, uncached_input, cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning,
  input_total, output_total, usage_raw, stated_cost_usd, request_digest, history, echo, last_turn, answer_history,
  answer_turn, turns, response_id, previous_response_id, asks, carries)
SELECT
  e.trace, e.seq, e.sent_us, e.sent_unix_us, e.provider, e.method, e.path, e.loop_hint, e.import_index,
  e.request_headers, e.request_skeleton, e.request_heads, e.request_digest, e.request_size, a.end_us, a.ending,
  a.error, a.status, a.head_us, a.headers, a.body, a.chunks, f.derivation, f.wire, f.model, f.response_model,
  f.service_tier, f.stream, f.finish_reason, f.first_event_us, f.first_reasoning_us, f.first_content_us,
  f.first_tool_call_us, f.last_output_us, f.state, f.retry_count, f.retry_after_ms, f.response_bytes,
  f.uncached_input, f.cache_read, f.cache_write_5m, f.cache_write_1h, f.output_visible, f.reasoning, f.input_total,
  f.output_total, f.usage_raw, f.stated_cost_usd, f.request_digest, f.history, f.echo, f.last_turn,
  f.answer_history, f.answer_turn, f.turns, f.response_id, f.previous_response_id, f.asks, f.carries
FROM exchanges e LEFT JOIN answers a USING (trace, seq) LEFT JOIN facts f USING (trace, seq)
ORDER BY e.trace, e.seq;

-- A call's row may be written after what is said of it: both are there when the transaction ends.
CREATE TABLE new_replay_calls (
  trace        INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  source       TEXT NOT NULL, -- cached, live, mock, refused, side_call
  recorded_seq INTEGER,       -- cached: the parent's call whose answer it was
  rung         INTEGER,       -- cached: how well the request matched
  reason       TEXT,          -- otherwise: a divergence code, FORK, OVER_BUDGET, CANNOT_ASK; NULL for side calls
  PRIMARY KEY (trace, seq),
  FOREIGN KEY (trace, seq) REFERENCES calls (trace, seq) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) WITHOUT ROWID;
INSERT INTO new_replay_calls (trace, seq, source, recorded_seq, rung, reason)
  SELECT trace, seq, source, recorded_seq, rung, reason FROM replay_calls;
DROP TABLE replay_calls;
ALTER TABLE new_replay_calls RENAME TO replay_calls;

DROP TABLE facts;
DROP TABLE answers;
DROP TABLE exchanges;
