-- Contents and chain nodes that were written together are one row. An id is its place: row `id` holds the ids from
-- `id` on, as many as it has entries. Nothing has a row of its own and nothing is found by a search tree, but for
-- content that is likely to come again. What was written before stays in blobs, nodes and packs; nothing is added there.
CREATE TABLE bundles (
  id      INTEGER PRIMARY KEY, -- of the first entry; never given out twice
  entries BLOB NOT NULL,       -- what each id stands for
  codec   INTEGER NOT NULL,    -- of `data`: 0 as it is, 1 zstd
  size    INTEGER NOT NULL,    -- of the contents together
  data    BLOB NOT NULL        -- the contents, one after the other
);
-- Written in a hurry, to be compressed when nobody waits.
CREATE INDEX bundles_uncompressed ON bundles (size) WHERE codec = 0;

-- Content that is likely to come again, by the first eight bytes of its digest.
CREATE TABLE recurring (
  digest INTEGER NOT NULL,
  id     INTEGER NOT NULL,
  PRIMARY KEY (digest, id)
) WITHOUT ROWID;
