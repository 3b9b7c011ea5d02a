-- Where the answers of a replay's calls came from. The replay is a trace whose `parent` is the recording.
CREATE TABLE replay_calls (
  trace        INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  source       TEXT NOT NULL, -- cached, live, mock, refused, side_call
  recorded_seq INTEGER,       -- cached: the parent's call whose answer it was
  rung         INTEGER,       -- cached: how well the request matched
  reason       TEXT,          -- otherwise: a divergence code, FORK, OVER_BUDGET, CANNOT_ASK; NULL for side calls
  PRIMARY KEY (trace, seq),
  FOREIGN KEY (trace, seq) REFERENCES exchanges (trace, seq) ON DELETE CASCADE
) WITHOUT ROWID;
