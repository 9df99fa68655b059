//! Streams that are set aside, and their way back (PROTOCOL D13). A stream that is released stays set aside until what was
//! withheld is published: else a row that was read meanwhile would overtake it.

use flagstop_schemas::InstanceId;
use sqlx::Row as _;
use uuid::Uuid;

use super::relay::journal_row;
use super::{PostgresStore, retire};
use crate::rows::{JournalRow, Quarantined, SHARDS};

const SET_ASIDE: &str = "
insert into quarantine (instance, revision, at_us, reason) values ($1, $2, now_us(), $3)
on conflict (instance) do update set reason = excluded.reason where quarantine.revision = excluded.revision";

const LIST: &str = "
select instance, revision, at_us, reason from quarantine where $1::uuid is null or instance = $1 order by at_us, instance";

const RELEASE: &str = "
insert into journal (at_us, instance, revision, definition, shard, events)
select now_us(), q.instance, -3, 0, (get_byte(uuid_send(q.instance), 0) & ($2::int4 - 1))::int2,
       convert_to(q.revision::text, 'UTF8')
from quarantine q where q.instance = any($1) returning instance";

const WITHHELD: &str = "
select instance, revision, definition, at_us, events from journal
where instance = $1 and revision > 0 and revision > $2 order by revision limit $3";

// Looks and lets go in one snapshot. A row that this does not see commits later, and its relay reads it later still.
const REJOIN: &str = "
with more as materialized (
  select exists (select from journal where instance = $1 and revision > 0 and revision > $2) as is)
, gone as (
  delete from quarantine q using more where q.instance = $1 and q.revision <= $2 + 1 and not more.is)
, moved as (
  update quarantine q set revision = $2 + 1 from more where q.instance = $1 and q.revision <= $2 and more.is)
select not more.is from more";

pub(super) async fn quarantine(
    store: &PostgresStore,
    instance: InstanceId,
    revision: i32,
    reason: &str,
) -> Result<(), sqlx::Error> {
    store.connections.fetch(sqlx::query(SET_ASIDE).bind(instance.0).bind(revision).bind(reason)).await?;
    Ok(())
}

pub(super) async fn quarantined(
    store: &PostgresStore,
    of: Option<InstanceId>,
) -> Result<Vec<Quarantined>, sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(LIST).bind(of.map(|id| id.0))).await?;
    let one = |row: &sqlx::postgres::PgRow| {
        Ok(Quarantined {
            instance: InstanceId(row.try_get(0)?),
            revision: row.try_get(1)?,
            since_us: row.try_get(2)?,
            reason: row.try_get(3)?,
        })
    };
    rows.iter().map(one).collect()
}

pub(super) async fn release(store: &PostgresStore, instances: &[InstanceId]) -> Result<u64, sqlx::Error> {
    let ids: Vec<Uuid> = instances.iter().map(|id| id.0).collect();
    // It writes to the journal, and there may be no partition for today when no worker runs.
    retire::prepare(store).await?;
    let statement = sqlx::query(RELEASE).bind(ids).bind(i32::from(SHARDS));
    Ok(store.connections.fetch(statement).await?.len() as u64)
}

pub(super) async fn withheld(
    store: &PostgresStore,
    instance: InstanceId,
    after: i32,
    limit: i64,
) -> Result<Vec<JournalRow>, sqlx::Error> {
    let statement = sqlx::query(WITHHELD).bind(instance.0).bind(after).bind(limit);
    store.connections.fetch(statement).await?.iter().map(|row| journal_row(row, 0)).collect()
}

pub(super) async fn rejoin(store: &PostgresStore, instance: InstanceId, through: i32) -> Result<bool, sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(REJOIN).bind(instance.0).bind(through)).await?;
    rows.first().map_or(Ok(true), |row| row.try_get(0))
}
