-- What many workers need for years: old rows go in small batches, and what kills workers is known.
UPDATE meta SET value = 3 WHERE name = 'oldest_build';

-- To find what is old.
CREATE INDEX inbox_age ON inbox (at_us);

-- Remarks in histories are rare.
CREATE INDEX journal_remarks ON journal (instance) WHERE revision = -2;

-- What faulted says why, and what was set aside, too: for people's lists.
ALTER TABLE instances ADD COLUMN error TEXT;
ALTER TABLE instances ADD COLUMN aside TEXT;

-- Who is live under an activation key.
CREATE TABLE activations (key BLOB PRIMARY KEY, instance BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- Messages and instances that were being tried when a worker died (D8), each marked before it is tried.
CREATE TABLE suspects (id BLOB PRIMARY KEY, tries INTEGER NOT NULL, at_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Disabled versions take no new triggers.
ALTER TABLE definitions ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1;

-- When somebody gave it to the workers again.
ALTER TABLE dead_letters ADD COLUMN redriven_us INTEGER;
