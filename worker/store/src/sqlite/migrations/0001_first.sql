-- Ids and hashes are 16-byte blobs, times are microseconds since 1970 UTC, flags are 0 or 1.

CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('oldest_build', 1), ('catalogue', 0);

CREATE TABLE definitions (
  number    INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  name      TEXT NOT NULL,
  version   TEXT NOT NULL,
  content   BLOB NOT NULL,
  source    BLOB NOT NULL,
  UNIQUE (namespace, name, version)
) STRICT;

-- The snapshot stands last, so that lists and revision checks do not read over it.
CREATE TABLE instances (
  id           BLOB NOT NULL UNIQUE,
  definition   INTEGER NOT NULL,
  revision     INTEGER NOT NULL,
  status       INTEGER NOT NULL,
  created_us   INTEGER NOT NULL,
  updated_us   INTEGER NOT NULL,
  ended_us     INTEGER,
  parent       BLOB,
  business_key TEXT,
  state        BLOB NOT NULL
) STRICT;
CREATE INDEX instances_newest ON instances (created_us DESC, id);

CREATE TABLE inbox (key BLOB PRIMARY KEY, at_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE bookmarks (
  key      BLOB NOT NULL,
  instance BLOB NOT NULL,
  slot     INTEGER NOT NULL,
  since_us INTEGER,
  PRIMARY KEY (key, instance, slot)
) STRICT, WITHOUT ROWID;

-- Ordered by due time alone: one file has few workers, and the oldest timer comes first whatever its shard.
CREATE TABLE timers (
  due_us   INTEGER NOT NULL,
  instance BLOB NOT NULL,
  slot     INTEGER NOT NULL,
  shard    INTEGER NOT NULL,
  PRIMARY KEY (due_us, instance, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE effects (
  instance BLOB NOT NULL,
  slot     INTEGER NOT NULL,
  owner    BLOB,
  epoch    INTEGER NOT NULL,
  pointer  TEXT NOT NULL,
  PRIMARY KEY (instance, slot)
) STRICT, WITHOUT ROWID;
-- To find a worker's, nobody's, and, one step per owner, those of the dead.
CREATE INDEX effects_owner ON effects (owner);

-- AUTOINCREMENT here and in the journal: an id is never given twice, even after the newest rows were deleted.
CREATE TABLE mail (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  instance   BLOB NOT NULL,
  shard      INTEGER NOT NULL,
  definition INTEGER NOT NULL,
  at_us      INTEGER NOT NULL,
  stimulus   BLOB NOT NULL
) STRICT;
CREATE INDEX mail_instance ON mail (instance);

CREATE TABLE parked (
  id         BLOB NOT NULL UNIQUE,
  key        BLOB NOT NULL,
  message    BLOB NOT NULL,
  matched    INTEGER NOT NULL,
  event_type TEXT NOT NULL,
  at_us      INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  event      BLOB NOT NULL
) STRICT;
CREATE INDEX parked_key ON parked (key);
CREATE INDEX parked_message ON parked (message);
CREATE INDEX parked_expires ON parked (expires_us);
CREATE INDEX parked_type ON parked (event_type);

-- One writer at a time: the order of `seq` is the order of the commits, so a cursor over it can skip nothing (D14).
CREATE TABLE journal (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  shard      INTEGER NOT NULL,
  instance   BLOB NOT NULL,
  revision   INTEGER NOT NULL,
  definition INTEGER NOT NULL,
  at_us      INTEGER NOT NULL,
  events     BLOB NOT NULL
) STRICT;
CREATE INDEX journal_shard ON journal (shard);
CREATE UNIQUE INDEX journal_once ON journal (instance, revision) WHERE revision > 0;

CREATE TABLE dead_letters (
  id           BLOB NOT NULL UNIQUE,
  at_us        INTEGER NOT NULL,
  code         TEXT NOT NULL,
  reason       TEXT NOT NULL,
  origin       TEXT NOT NULL,
  content_type TEXT,
  headers      BLOB NOT NULL,
  body         BLOB NOT NULL
) STRICT;

CREATE TABLE workers (id BLOB PRIMARY KEY, until_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE shards (
  shard INTEGER PRIMARY KEY,
  owner BLOB,
  epoch INTEGER NOT NULL DEFAULT 0,
  place INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Streams that are set aside (D13): the relay leaves out their rows from `revision` on.
CREATE TABLE quarantine (
  instance BLOB PRIMARY KEY,
  revision INTEGER NOT NULL,
  at_us    INTEGER NOT NULL,
  reason   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
