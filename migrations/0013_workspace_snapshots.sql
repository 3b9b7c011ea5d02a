-- Which folder's files were looked at while a trace was recorded, and what they were at each of its steps. Files and
-- folders are contents, found by their digests (`recurring`): a folder is a tree of names and digests.
CREATE TABLE trace_workspaces (
  trace  INTEGER PRIMARY KEY REFERENCES traces (key) ON DELETE CASCADE,
  folder TEXT NOT NULL -- as it was called, redacted
);

CREATE TABLE workspace_snapshots (
  trace    INTEGER NOT NULL REFERENCES traces (key) ON DELETE CASCADE,
  moment   TEXT NOT NULL,    -- start, call, end
  seq      INTEGER NOT NULL, -- of the call; 0 at the start and the end
  taken_us INTEGER NOT NULL, -- when it was complete
  root     BLOB,             -- BLAKE3 of the root's tree; NULL: it could not be taken
  missing  TEXT,             -- why
  PRIMARY KEY (trace, moment, seq)
) WITHOUT ROWID;
