-- What calls under a budget cost, by day (UTC, since 1970-01-01) and trace, in 10^-12 US dollars. Budgets that outlive
-- a process are held to it.
CREATE TABLE spending (
  day            INTEGER NOT NULL,
  trace          TEXT NOT NULL,    -- its id; '' where nobody knows
  closed_unix_us INTEGER NOT NULL, -- when the trace ended: a later one of the same id begins anew; 0 if it did not
  spender        INTEGER NOT NULL, -- a process, by a random number
  spent          INTEGER NOT NULL,
  unaccounted    INTEGER NOT NULL, -- may have been spent beyond that
  held           INTEGER NOT NULL, -- reserved for calls under way
  PRIMARY KEY (day, trace, closed_unix_us, spender)
) WITHOUT ROWID;
CREATE INDEX spending_by_trace ON spending (trace, closed_unix_us);
