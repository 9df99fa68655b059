//! Who is alive, who holds which shards, and who drives which effects (PROTOCOL D7). A change of hands raises the epoch, so
//! that the one who lost a thing can't act on it any more. All times are the database's.

use flagstop_schemas::InstanceId;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::PostgresStore;
use crate::port::Beat;
use crate::rows::{EffectLease, SHARDS, WorkerId};

/// Beats go one by one, so that two workers neither take the same shard nor count each other wrong.
const BEGIN: &str = "begin; select pg_advisory_xact_lock(hashtext('flagstop beat'), hashtext(current_schema()))";

// A statement after the lock, so with a snapshot after it. Of the dead nothing is left.
const ALIVE: &str = "
with clock as materialized (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us)
, me as (
  insert into workers (id, until_us) select $1, now_us + $2 from clock
  on conflict (id) do update set until_us = excluded.until_us)
, dead as (delete from workers where id <> $1 and until_us <= (select now_us from clock))
select now_us, (select value from meta where name = 'catalogue'),
       (select count(*) from workers where id <> $1 and until_us > now_us) + 1
from clock";

// First gives back what is too much, then takes what is free or whose holder is no more. Locks in order of the shards.
const GIVE_BACK: &str = "
update relay_cursor c set owner = null
from (select shard from relay_cursor where owner = $1 order by shard offset $2 for update) x where c.shard = x.shard";

const TAKE: &str = "
update relay_cursor c set owner = $1, epoch = c.epoch + 1
from (
  select shard from relay_cursor r
  where r.owner is distinct from $1
    and not exists (
      select 1 from workers w
      where w.id = r.owner and w.until_us > (extract(epoch from clock_timestamp()) * 1000000)::bigint)
  order by shard limit greatest(0, $2 - (select count(*) from relay_cursor where owner = $1)) for update
) x where c.shard = x.shard";

const MINE: &str = "select shard from relay_cursor where owner = $1 order by shard";

// One statement, and no row of these tables is locked before another worker's beat could hold it: nothing to deadlock with.
const LEAVE: &str = "
with shards as (update relay_cursor set owner = null where owner = $1)
, effects as (update effects set owner = null where owner = $1)
delete from workers where id = $1";

const ADOPT: &str = "
update effects e set owner = $1, epoch = e.epoch + 1
from (
  select instance, slot from effects o
  where o.owner is distinct from $1
    and not exists (
      select 1 from workers w
      where w.id = o.owner and w.until_us > (extract(epoch from clock_timestamp()) * 1000000)::bigint)
  order by instance, slot limit $2 for update skip locked
) x where e.instance = x.instance and e.slot = x.slot
returning e.instance, e.slot, e.epoch";

const HELD: &str = "select instance, slot, epoch from effects where owner = $1 order by instance, slot";

pub(super) async fn beat(store: &PostgresStore, worker: WorkerId, lease_us: i64) -> Result<Beat, sqlx::Error> {
    // On an error the connection is dropped, and the transaction with it.
    let mut lent = store.connections.take().await?;
    lent.run(AssertSqlSafe(BEGIN.to_owned())).await?;
    let rows = lent.fetch(sqlx::query(ALIVE).bind(worker.0).bind(lease_us)).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let workers: i64 = row.try_get(2)?;
    let part = i64::from(u32::from(SHARDS).div_ceil(u32::try_from(workers).unwrap_or(u32::MAX).max(1)));
    lent.fetch(sqlx::query(GIVE_BACK).bind(worker.0).bind(part)).await?;
    lent.fetch(sqlx::query(TAKE).bind(worker.0).bind(part)).await?;
    let mine = lent.fetch(sqlx::query(MINE).bind(worker.0)).await?;
    lent.run(AssertSqlSafe("commit".to_owned())).await?;
    lent.sound();
    Ok(Beat {
        now_us: row.try_get(0)?,
        catalogue: row.try_get(1)?,
        shards: mine.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
        workers: i32::try_from(workers).unwrap_or(i32::MAX),
    })
}

pub(super) async fn leave(store: &PostgresStore, worker: WorkerId) -> Result<(), sqlx::Error> {
    store.connections.fetch(sqlx::query(LEAVE).bind(worker.0)).await?;
    Ok(())
}

pub(super) async fn adopt(
    store: &PostgresStore,
    worker: WorkerId,
    limit: i64,
) -> Result<Vec<EffectLease>, sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(ADOPT).bind(worker.0).bind(limit)).await?;
    rows.iter().map(lease).collect()
}

pub(super) async fn held(store: &PostgresStore, worker: WorkerId) -> Result<Vec<EffectLease>, sqlx::Error> {
    store.connections.fetch(sqlx::query(HELD).bind(worker.0)).await?.iter().map(lease).collect()
}

fn lease(row: &PgRow) -> Result<EffectLease, sqlx::Error> {
    Ok(EffectLease { instance: InstanceId(row.try_get(0)?), slot: row.try_get(1)?, epoch: row.try_get(2)? })
}
