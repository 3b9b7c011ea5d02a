-- Contents that were written together are compressed together, and ids are given out by the writer: an insert
-- touches no row of sqlite_sequence.
INSERT INTO settings (name, value) VALUES
  ('last_blob', (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'blobs')),
  ('last_node', (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'nodes')),
  ('last_pack', 0);

-- Contents, one after the other, compressed as one.
CREATE TABLE packs (
  id   INTEGER PRIMARY KEY, -- never given out twice
  size INTEGER NOT NULL,    -- of the contents together
  data BLOB NOT NULL        -- zstd
);

CREATE TABLE new_blobs (
  id     INTEGER PRIMARY KEY, -- never given out twice
  digest BLOB NOT NULL,
  codec  INTEGER NOT NULL, -- 0 as it is, 1 zstd, 2 splice of blob `base`, 3 a part of pack `pack`
  base   INTEGER,
  depth  INTEGER NOT NULL DEFAULT 0, -- how many splices lie under it
  size   INTEGER NOT NULL, -- of the content
  pack   INTEGER,
  place  INTEGER,          -- where in the pack it begins
  data   BLOB              -- NULL: it is in the pack
);
INSERT INTO new_blobs (id, digest, codec, base, depth, size, data)
  SELECT id, digest, codec, base, depth, size, data FROM blobs;
DROP TABLE blobs;
ALTER TABLE new_blobs RENAME TO blobs;
CREATE UNIQUE INDEX blobs_by_digest ON blobs (digest);

CREATE TABLE new_nodes (
  id     INTEGER PRIMARY KEY, -- never given out twice
  parent INTEGER NOT NULL,
  blob   INTEGER NOT NULL
);
INSERT INTO new_nodes (id, parent, blob) SELECT id, parent, blob FROM nodes;
DROP TABLE nodes;
ALTER TABLE new_nodes RENAME TO nodes;
CREATE UNIQUE INDEX nodes_by_content ON nodes (parent, blob);
