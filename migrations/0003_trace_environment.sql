-- Where a recorded run took place: JSON, redacted. A replay compares it with its own surroundings.
CREATE TABLE trace_environment (
  trace       INTEGER PRIMARY KEY REFERENCES traces (key) ON DELETE CASCADE,
  environment TEXT NOT NULL
);
