//! Streams that are set aside, and their way back (D13). A stream that is released stays set aside until what was withheld is
//! published: else a row that was read meanwhile would overtake it.

use flagstop_schemas::InstanceId;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::connection::Command;
use super::relay::journal_row;
use super::{BEGIN, SqliteStore, encode};
use crate::rows::{JournalRow, Quarantined, SHARDS};

const SET_ASIDE: &str = "
INSERT INTO quarantine (instance, revision, at_us, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (instance) DO UPDATE SET reason = excluded.reason WHERE quarantine.revision = excluded.revision;
COMMIT";

const LIST: &str = "
SELECT instance, revision, at_us, reason FROM quarantine WHERE $1 IS NULL OR instance = $1 ORDER BY at_us, instance";

const STREAMS: &str =
    "SELECT instance, revision FROM quarantine WHERE instance IN (SELECT unhex(value) FROM json_each($1))";

const RELEASE: &str = "
INSERT INTO journal (shard, instance, revision, definition, at_us, events) VALUES ($1, $2, -3, 0, $3, $4)";

const WITHHELD: &str = "
SELECT instance, revision, definition, at_us, events FROM journal
WHERE instance = $1 AND revision > 0 AND revision > $2 ORDER BY revision LIMIT $3";

const REJOIN: &str = "
UPDATE quarantine SET revision = $2 + 1 WHERE instance = $1 AND revision <= $2;
DELETE FROM quarantine WHERE instance = $1 AND revision <= $2 + 1
  AND NOT EXISTS (SELECT 1 FROM journal WHERE instance = $1 AND revision > 0 AND revision > $2);
SELECT NOT EXISTS (SELECT 1 FROM journal WHERE instance = $1 AND revision > 0 AND revision > $2);
COMMIT";

pub(super) async fn quarantine(
    store: &SqliteStore,
    instance: InstanceId,
    revision: i32,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let (writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let command = Command::fixed(SET_ASIDE, 2).bind(instance.0).bind(revision).bind(store.clock.now_us()).bind(reason);
    writing.finish(command).await?;
    Ok(())
}

pub(super) async fn quarantined(store: &SqliteStore, of: Option<InstanceId>) -> Result<Vec<Quarantined>, sqlx::Error> {
    let rows = store.connections.read(Command::fixed(LIST, 1).bind(of.map(|id| id.0))).await?;
    let one = |row: &SqliteRow| {
        Ok(Quarantined {
            instance: InstanceId(row.try_get(0)?),
            revision: row.try_get(1)?,
            since_us: row.try_get(2)?,
            reason: row.try_get(3)?,
        })
    };
    rows.iter().map(one).collect()
}

pub(super) async fn release(store: &SqliteStore, instances: &[InstanceId]) -> Result<u64, sqlx::Error> {
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let ids = encode::ids(instances.iter().map(|id| id.0));
    let streams = writing.run(Command::fixed(STREAMS, 1).bind(ids)).await?;
    for row in &streams {
        let (instance, revision): (InstanceId, i32) = (InstanceId(row.try_get(0)?), row.try_get(1)?);
        let row = Command::fixed(RELEASE, 1).bind(instance.shard(SHARDS)).bind(instance.0).bind(store.clock.now_us());
        writing.run(row.bind(revision.to_string().into_bytes())).await?;
    }
    writing.finish(Command::fixed("COMMIT", 1)).await?;
    Ok(streams.len() as u64)
}

pub(super) async fn withheld(
    store: &SqliteStore,
    instance: InstanceId,
    after: i32,
    limit: i64,
) -> Result<Vec<JournalRow>, sqlx::Error> {
    let command = Command::fixed(WITHHELD, 1).bind(instance.0).bind(after).bind(limit);
    store.connections.read(command).await?.iter().map(|row| journal_row(row, 0)).collect()
}

pub(super) async fn rejoin(store: &SqliteStore, instance: InstanceId, through: i32) -> Result<bool, sqlx::Error> {
    let (writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let rows = writing.finish(Command::fixed(REJOIN, 4).bind(instance.0).bind(through)).await?;
    rows.first().map_or(Ok(true), |row| row.try_get(0))
}
