//! Who is alive, who holds which shards, and who drives which effects (PROTOCOL D7). A change of hands raises the epoch, so
//! that the one who lost a thing can't act on it any more. All times are the database's.

use flagstop_schemas::InstanceId;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::restored::MOVED;
use super::{PostgresStore, restored};
use crate::port::Beat;
use crate::rows::{EffectLease, SHARDS, WorkerId};

/// Several commands in one message, which Postgres runs as one transaction: a worker that is stopped in the middle of its
/// beat holds nobody's lock. Beats go one by one, so that two workers neither take the same shard nor count each other
/// wrong; each command has its own snapshot, after the lock.
fn beat_commands(worker: WorkerId, lease_us: i64) -> String {
    let WorkerId(me) = worker;
    format!(
        "
select pg_advisory_xact_lock(hashtext('flagstop beat'), hashtext(current_schema()));

with clock as materialized (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us)
, dead as (delete from workers where id <> '{me}' and until_us <= (select now_us from clock) returning until_us)
, noted as (
  insert into meta (name, value)
  select 'last_death', now_us from clock where exists (select from dead)
  union all
  select 'dead_until', d.until_us from (select max(until_us) as until_us from dead) d where d.until_us is not null
  on conflict (name) do update set value = greatest(meta.value, excluded.value))
insert into workers (id, until_us) select '{me}', now_us + {lease_us} from clock
on conflict (id) do update set until_us = excluded.until_us;

-- First gives back what is too much, then takes what is free or whose holder is no more, in order of the shards.
with x as materialized (
  select shard from relay_cursor where owner = '{me}' order by shard
  offset (select ceil({SHARDS}.0 / count(*)) from workers) for update)
update relay_cursor c set owner = null from x where c.shard = x.shard;

with x as materialized (
  select shard from relay_cursor r
  where r.owner is distinct from '{me}' and not exists (select 1 from workers w where w.id = r.owner)
  order by shard
  limit greatest(0, (select ceil({SHARDS}.0 / count(*)) from workers)
                    - (select count(*) from relay_cursor where owner = '{me}'))
  for update)
update relay_cursor c set owner = '{me}', epoch = c.epoch + 1 from x where c.shard = x.shard;

select (select until_us from workers where id = '{me}') - {lease_us},
       (select value from meta where name = 'catalogue'),
       (select count(*)::int4 from workers),
       (select coalesce(array_agg(shard order by shard), '{{}}') from relay_cursor where owner = '{me}'),
       ({MOVED}),
       coalesce((select value from meta where name = 'last_death'), 0),
       coalesce((select value from meta where name = 'dead_until'), (select value from meta where name = 'last_death'), 0)"
    )
}

// One statement, and no row of these tables is locked before another worker's beat could hold it: nothing to deadlock with.
const LEAVE: &str = "
with shards as (update relay_cursor set owner = null where owner = $1)
, effects as (update effects set owner = null where owner = $1)
delete from workers where id = $1";

// Steps from owner to owner by the index, since others' effects may be many and owners are few.
//
// What is limited and locked is read once (`materialized`): as a part of a join it might be read again for each row, and
// lock others each time.
const ADOPT: &str = "
with recursive owner (id) as (
  (select owner from effects where owner is not null order by owner limit 1)
  union all
  select (select e.owner from effects e where e.owner > o.id order by e.owner limit 1) from owner o where o.id is not null)
, dead as materialized (
  select id from owner where id <> $1 and not exists (
    select 1 from workers w
    where w.id = owner.id and w.until_us > (extract(epoch from clock_timestamp()) * 1000000)::bigint))
, free as materialized (
  select instance, slot from effects where owner is null limit $2 for update skip locked)
, left_behind as materialized (
  select instance, slot from effects where owner = any(array(select id from dead))
  limit $2 - (select count(*) from free) for update skip locked)
, x as (select * from free union all select * from left_behind)
update effects e set owner = $1, epoch = e.epoch + 1 from x where e.instance = x.instance and e.slot = x.slot
returning e.instance, e.slot, e.epoch";

const HELD: &str = "select instance, slot, epoch from effects where owner = $1 order by instance, slot";

pub(super) async fn beat(store: &PostgresStore, worker: WorkerId, lease_us: i64) -> Result<Beat, sqlx::Error> {
    // A uuid and a number are all that is put into the text.
    let rows = store.connections.fetch_commands(AssertSqlSafe(beat_commands(worker, lease_us))).await?;
    let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
    if row.try_get(4)? {
        restored::move_in(store).await?;
    }
    Ok(Beat {
        now_us: row.try_get(0)?,
        catalogue: row.try_get(1)?,
        workers: row.try_get(2)?,
        shards: row.try_get(3)?,
        died_us: row.try_get(5)?,
        dead_until_us: row.try_get(6)?,
    })
}

// As many for as many, so that neither holds more than its part, and gives back in its next beat what it was given.
fn hand_over_commands(worker: WorkerId, shards: &[i16]) -> String {
    let WorkerId(me) = worker;
    let shards = shards.iter().map(i16::to_string).collect::<Vec<_>>().join(",");
    format!(
        "
select pg_advisory_xact_lock(hashtext('flagstop beat'), hashtext(current_schema()));

with heir as materialized (
  select id from workers where id <> '{me}' and until_us > (extract(epoch from clock_timestamp()) * 1000000)::bigint
  order by random() limit 1)
, given as materialized (select shard from relay_cursor where owner = '{me}' and shard = any('{{{shards}}}'::int2[]))
, taken as materialized (
  select shard from relay_cursor where owner = (select id from heir)
  order by random() limit (select count(*) from given))
, moved as (
  select given.shard, heir.id as owner from given, heir
  union all
  select shard, '{me}'::uuid from taken)
update relay_cursor c set owner = m.owner, epoch = c.epoch + 1 from moved m where c.shard = m.shard"
    )
}

pub(super) async fn hand_over(store: &PostgresStore, worker: WorkerId, shards: &[i16]) -> Result<(), sqlx::Error> {
    // A uuid and numbers are all that is put into the text.
    store.connections.fetch_commands(AssertSqlSafe(hand_over_commands(worker, shards))).await?;
    Ok(())
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
