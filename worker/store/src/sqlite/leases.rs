//! Who is alive, who holds which shards, and who drives which effects (D7). A change of hands raises the epoch, so that the
//! one who lost a thing can't act on it any more.

use flagstop_schemas::InstanceId;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::connection::Command;
use super::{BEGIN, SqliteStore};
use crate::port::Beat;
use crate::rows::{EffectLease, SHARDS, WorkerId};

const ALIVE: &str = "
INSERT INTO workers (id, until_us) VALUES ($1, $3) ON CONFLICT (id) DO UPDATE SET until_us = excluded.until_us;
INSERT INTO meta (name, value) SELECT 'last_death', $2 WHERE EXISTS (SELECT 1 FROM workers WHERE until_us <= $2 AND id <> $1)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;
INSERT INTO meta (name, value) SELECT 'dead_until', until_us FROM workers WHERE until_us <= $2 AND id <> $1
ORDER BY until_us DESC LIMIT 1 ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value);
DELETE FROM workers WHERE until_us <= $2 AND id <> $1;
SELECT count(*), coalesce((SELECT value FROM meta WHERE name = 'last_death'), 0),
       coalesce((SELECT value FROM meta WHERE name = 'dead_until'), (SELECT value FROM meta WHERE name = 'last_death'), 0)
FROM workers";

// First gives back what is too much, then takes what is free; of the dead nothing is left in `workers`.
const SHARE: &str = "
UPDATE shards SET owner = NULL WHERE shard IN
  (SELECT shard FROM shards WHERE owner = $1 ORDER BY shard LIMIT -1 OFFSET $2);
UPDATE shards SET owner = $1, epoch = epoch + 1 WHERE shard IN
  (SELECT shard FROM shards WHERE owner IS NOT $1 AND (owner IS NULL OR owner NOT IN (SELECT id FROM workers))
   ORDER BY shard LIMIT max(0, $2 - (SELECT count(*) FROM shards WHERE owner = $1)));
SELECT shard, (SELECT value FROM meta WHERE name = 'catalogue') FROM shards WHERE owner = $1 ORDER BY shard;
COMMIT";

const HEIR: &str = "SELECT id FROM workers WHERE id <> $1 AND until_us > $2 ORDER BY random() LIMIT 1";

// As many for as many, so that neither holds more than its part, and gives back in its next beat what it was given.
const HAND_OVER: &str = "
UPDATE shards SET owner = $1, epoch = epoch + 1 WHERE shard IN
  (SELECT shard FROM shards WHERE owner = $2 ORDER BY random()
   LIMIT (SELECT count(*) FROM shards WHERE owner = $1 AND shard IN (SELECT value FROM json_each($3))));
UPDATE shards SET owner = $2, epoch = epoch + 1 WHERE owner = $1 AND shard IN (SELECT value FROM json_each($3));
COMMIT";

const LEAVE: &str = "
BEGIN IMMEDIATE;
UPDATE shards SET owner = NULL WHERE owner = $1;
UPDATE effects SET owner = NULL WHERE owner = $1;
DELETE FROM workers WHERE id = $1";

/// Effects of nobody and of the dead. Steps from owner to owner by the index: others' effects may be many, owners are few.
macro_rules! left_behind {
    () => {
        "WITH RECURSIVE holder(id) AS (
  SELECT min(owner) FROM effects
  UNION ALL
  SELECT (SELECT min(owner) FROM effects WHERE owner > holder.id) FROM holder WHERE holder.id IS NOT NULL
), gone(id) AS (
  SELECT NULL
  UNION ALL
  SELECT id FROM holder WHERE id IS NOT NULL AND id <> $1
    AND NOT EXISTS (SELECT 1 FROM workers w WHERE w.id = holder.id AND w.until_us > $2)
)
SELECT e.instance, e.slot FROM gone CROSS JOIN effects e ON e.owner IS gone.id LIMIT $3"
    };
}

pub(super) const LEFT: &str = left_behind!();

const ADOPT: &str = concat!(
    "UPDATE effects SET owner = $1, epoch = epoch + 1 WHERE (instance, slot) IN (",
    left_behind!(),
    ") RETURNING instance, slot, epoch; COMMIT"
);

pub(super) const HELD: &str = "SELECT instance, slot, epoch FROM effects WHERE owner = $1 ORDER BY instance, slot";

pub(super) async fn beat(store: &SqliteStore, worker: WorkerId, lease_us: i64) -> Result<Beat, sqlx::Error> {
    // The clock is read under the write lock: waiting for it must not shorten the lease.
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let now_us = store.clock.now_us();
    let until_us = now_us.saturating_add(lease_us);
    let alive = Command::fixed(ALIVE, 5).bind(worker.0).bind(now_us).bind(until_us);
    let counted = writing.run(alive).await?;
    let counted = counted.first().ok_or(sqlx::Error::RowNotFound)?;
    let (workers, died_us): (u32, i64) = (counted.try_get(0)?, counted.try_get(1)?);
    let dead_until_us = counted.try_get(2)?;
    let part = u32::from(SHARDS).div_ceil(workers.max(1));
    let rows = writing.finish(Command::fixed(SHARE, 4).bind(worker.0).bind(part)).await?;
    let shards = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let catalogue = match rows.first() {
        Some(row) => row.try_get(1)?,
        None => super::catalogue::version(store).await?,
    };
    Ok(Beat { now_us, catalogue, shards, workers: i32::try_from(workers).unwrap_or(i32::MAX), died_us, dead_until_us })
}

pub(super) async fn hand_over(store: &SqliteStore, worker: WorkerId, shards: &[i16]) -> Result<(), sqlx::Error> {
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let heir = writing.run(Command::fixed(HEIR, 1).bind(worker.0).bind(store.clock.now_us())).await?;
    let Some(heir) = heir.first() else {
        writing.abandon().await;
        return Ok(());
    };
    let (heir, shards): (uuid::Uuid, String) = (heir.try_get(0)?, serde_json::json!(shards).to_string());
    writing.finish(Command::fixed(HAND_OVER, 3).bind(worker.0).bind(heir).bind(shards)).await?;
    Ok(())
}

pub(super) async fn leave(store: &SqliteStore, worker: WorkerId) -> Result<(), sqlx::Error> {
    let (writing, _) = store.connections.write(Command::fixed(LEAVE, 4).bind(worker.0)).await?;
    writing.finish(Command::fixed("COMMIT", 1)).await?;
    Ok(())
}

pub(super) async fn adopt(store: &SqliteStore, worker: WorkerId, limit: i64) -> Result<Vec<EffectLease>, sqlx::Error> {
    // Mostly there is nothing to adopt: a reading look saves the write lock.
    let left = Command::fixed(LEFT, 1).bind(worker.0).bind(store.clock.now_us()).bind(1);
    if store.connections.read(left).await?.is_empty() {
        return Ok(Vec::new());
    }
    let (writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let adopt = Command::fixed(ADOPT, 2).bind(worker.0).bind(store.clock.now_us()).bind(limit);
    let rows = writing.finish(adopt).await?;
    rows.iter().map(lease).collect()
}

pub(super) async fn held(store: &SqliteStore, worker: WorkerId) -> Result<Vec<EffectLease>, sqlx::Error> {
    store.connections.read(Command::fixed(HELD, 1).bind(worker.0)).await?.iter().map(lease).collect()
}

fn lease(row: &SqliteRow) -> Result<EffectLease, sqlx::Error> {
    Ok(EffectLease { instance: InstanceId(row.try_get(0)?), slot: row.try_get(1)?, epoch: row.try_get(2)? })
}
