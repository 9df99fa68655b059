-- What the whole language needs. Builds before this one know nothing of parents that await their children's end, and would
-- let them wait for ever: none of them may run any more.
UPDATE meta SET value = 2 WHERE name = 'oldest_build';

-- What a definition refers to outside of itself, as it was when it was deployed (D6).
ALTER TABLE definitions ADD COLUMN bundle BLOB NOT NULL DEFAULT x'';
ALTER TABLE definitions ADD COLUMN at_us INTEGER NOT NULL DEFAULT 0;

-- Where the parent awaits the child's end.
ALTER TABLE instances ADD COLUMN parent_slot INTEGER;

-- Large values are written once, however often the snapshots that refer to them are (D19).
CREATE TABLE large_values (
  instance BLOB NOT NULL,
  hash     BLOB NOT NULL,
  value    BLOB NOT NULL,
  UNIQUE (instance, hash)
) STRICT;

-- When a workflow is due next, and the open sets of events that are to start one (D12, D17).
CREATE TABLE schedules (
  id         BLOB NOT NULL UNIQUE,
  token      INTEGER NOT NULL,
  shard      INTEGER NOT NULL,
  definition INTEGER NOT NULL,
  due_us     INTEGER,
  awaits     BLOB,
  state      BLOB NOT NULL
) STRICT;
CREATE INDEX schedules_due ON schedules (due_us) WHERE due_us IS NOT NULL;
CREATE INDEX schedules_awaits ON schedules (shard) WHERE awaits IS NOT NULL;
