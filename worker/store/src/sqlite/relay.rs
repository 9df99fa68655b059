//! The relay's reading of the journal. One transaction writes at a time, so the order of `seq` is that of the commits: a
//! cursor is the last `seq` that was confirmed, and it can neither skip a row nor be held up (D14).

use std::collections::BTreeMap;

use flagstop_schemas::InstanceId;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::connection::Command;
use super::encode::Rows;
use super::load::bytes;
use super::{BEGIN, SqliteStore};
use crate::port::{Ahead, Cursor, Page};
use crate::rows::{JournalRow, WorkerId};

// A shard with nothing new costs two look-ups in an index. Rows of a stream that is set aside (D13) do not count, but the
// cursor passes them.
pub(super) const READ: &str = "
WITH held AS MATERIALIZED (
  SELECT shard, epoch,
    coalesce((SELECT j.value ->> 2 FROM json_each($3) j
              WHERE j.value ->> 0 = s.shard AND j.value ->> 1 = s.epoch), place) AS place,
    (SELECT max(seq) FROM journal n WHERE n.shard = s.shard) AS head
  FROM shards s WHERE owner = $1 AND shard NOT IN (SELECT value FROM json_each($4))
)
SELECT h.shard, h.epoch, h.head, r.seq, r.instance, r.revision, r.definition, r.at_us, r.events
FROM held h LEFT JOIN journal r ON r.seq IN (
  SELECT c.seq FROM journal c
  WHERE c.shard = h.shard AND c.seq > h.place
    AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.instance = c.instance AND q.revision <= c.revision)
  ORDER BY c.seq LIMIT $2)
WHERE h.head > h.place";

const SAVE: &str = "
UPDATE shards SET place = max(shards.place, c.place)
FROM (SELECT value ->> 0 AS shard, value ->> 1 AS epoch, value ->> 2 AS place FROM json_each($2)) AS c
WHERE shards.shard = c.shard AND shards.epoch = c.epoch AND shards.owner = $1;
COMMIT";

/// A shard's page as it is put together.
#[derive(Debug)]
struct Draft {
    epoch: i32,
    head: i64,
    rows: Vec<(i64, JournalRow)>,
}

pub(super) async fn read(
    store: &SqliteStore,
    worker: WorkerId,
    limit: i64,
    ahead: &Ahead,
) -> Result<Vec<Page>, sqlx::Error> {
    let cursors = columns(&ahead.cursors)?;
    let full = serde_json::json!(ahead.full).to_string();
    // One more than asked for, to see whether there is more.
    let command = Command::fixed(READ, 1).bind(worker.0).bind(limit.saturating_add(1));
    let command = command.bind(if cursors.is_empty() { "[]".to_owned() } else { cursors.into_json() }).bind(full);
    let mut drafts: BTreeMap<i16, Draft> = BTreeMap::new();
    for row in &store.connections.read(command).await? {
        let (epoch, head) = (row.try_get(1)?, row.try_get(2)?);
        let draft = drafts.entry(row.try_get(0)?).or_insert_with(|| Draft { epoch, head, rows: Vec::new() });
        if let Some(seq) = row.try_get(3)? {
            draft.rows.push((seq, journal_row(row, 4)?));
        }
    }
    let limit = usize::try_from(limit).unwrap_or(0);
    Ok(drafts.into_iter().map(|(shard, draft)| draft.page(shard, limit)).collect())
}

impl Draft {
    fn page(mut self, shard: i16, limit: usize) -> Page {
        self.rows.sort_unstable_by_key(|(seq, _)| *seq);
        let full = self.rows.len() > limit;
        self.rows.truncate(limit);
        // Behind the last row of a page that is not full only set-aside rows follow: they are passed, too.
        let place = if full { self.rows.last().map_or(0, |(seq, _)| *seq) } else { self.head };
        let rows = self.rows.into_iter().map(|(_, row)| row).collect();
        Page { shard, rows, next: Cursor { shard, epoch: self.epoch, place: place.to_string() }, full }
    }
}

/// Cursors as rows of a statement.
fn columns(cursors: &[Cursor]) -> Result<Rows, sqlx::Error> {
    let mut rows = Rows::new();
    for cursor in cursors {
        let place: i64 = cursor.place.parse().map_err(|_| {
            sqlx::Error::Decode(format!("'{}' is not a place in the journal of SQLite", cursor.place).into())
        })?;
        rows.row().int(cursor.shard).int(cursor.epoch).int(place);
    }
    Ok(rows)
}

pub(super) async fn save(store: &SqliteStore, worker: WorkerId, cursors: &[Cursor]) -> Result<(), sqlx::Error> {
    let rows = columns(cursors)?;
    if rows.is_empty() {
        return Ok(());
    }
    let (writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    writing.finish(Command::fixed(SAVE, 2).bind(worker.0).bind(rows.into_json())).await?;
    Ok(())
}

/// Reads `instance, revision, definition, at_us, events` from a column on.
pub(super) fn journal_row(row: &SqliteRow, from: usize) -> Result<JournalRow, sqlx::Error> {
    Ok(JournalRow {
        instance: InstanceId(row.try_get(from)?),
        revision: row.try_get(from + 1)?,
        definition: row.try_get(from + 2)?,
        at_us: row.try_get(from + 3)?,
        events: bytes(row, from + 4)?,
    })
}
