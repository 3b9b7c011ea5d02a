-- Only content that is likely to come again is found by its digest. Answers and their headers are not: each has an
-- id of its own in it, and entering it into the index costs more than writing it down.
ALTER TABLE blobs ADD COLUMN recurs INTEGER NOT NULL DEFAULT 1;
DROP INDEX blobs_by_digest;
CREATE UNIQUE INDEX blobs_by_digest ON blobs (digest) WHERE recurs = 1;
