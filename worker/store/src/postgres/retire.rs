//! Takes out what is over. The inbox and the journal go by the day, by dropping partitions: the functions that do so belong
//! to whoever migrated, so that a worker's role needs no right to make or drop tables. The rest goes in bounded batches.
//!
//! It must never take out what a relay has still to read (PROTOCOL D13).

use flagstop_schemas::InstanceId;
use sqlx::Row as _;

use super::PostgresStore;
use crate::config::StoreConfig;
use crate::port::{Keep, RetirePlace, Retired};

/// Partitions are made this many days ahead. When no worker has run for longer, the first commit makes them.
const DAYS_AHEAD: i32 = 3;

/// Partitions that one call drops at the most.
const DROPS_MAX: usize = 16;

/// The least time around midnight in which a message is written to both days.
const OVERLAP_US: i64 = 600_000_000;

/// Two transactions that can't see each other began at most two statements' time apart, be they of workers with different
/// settings: near midnight each writes its messages to both days for longer than that, and so they meet in one of them.
pub(super) fn overlap_us(config: &StoreConfig) -> i64 {
    OVERLAP_US + 2 * 1_000 * i64::try_from(config.statement_timeout_ms).unwrap_or(0)
}

const PREPARE: &str = "select make_partitions(day_of(now_us()) - 1, day_of(now_us()) + $1)";

const DROP: &str = "select drop_partition(day_of(now_us() - $1), day_of(now_us() - $2))";

// A shard where nothing is unread looks no longer into the partitions of the days that are over.
const MOVE_ON: &str = "
update relay_cursor c set day = day_of(now_us()) - 1
where c.day < day_of(now_us()) - 1
  and not exists (select from journal j where j.shard = c.shard and j.xid >= c.next_xid)
  and not exists (select from journal j where j.shard = c.shard and j.xid = any(c.pending))";

// A letter that waits for the relay is read from this table when it is published.
const LETTERS: &str = "
with unread as materialized (
  select min(u.at_us) as at_us from relay_cursor c cross join lateral (
    (select at_us from journal j
     where j.shard = c.shard and j.xid >= c.next_xid and j.day >= c.day order by j.xid, j.seq limit 1)
    union all
    (select at_us from journal j where j.shard = c.shard and j.xid = any(c.pending) and j.day >= c.day limit 1)) u)
, old as materialized (
  select id from dead_letters
  where at_us < least(now_us() - $1, (select at_us from unread)) order by at_us limit $2)
delete from dead_letters l using old where l.id = old.id returning l.id";

// Goes through the instances by their age, so that no index on their end is needed. One that still has to do stays: a
// program that nobody awaits, or mail that is on its way.
const INSTANCES: &str = "
with page as materialized (
  select id, created_us from instances
  where created_us < now_us() - $1 and created_us >= $2 and (created_us > $2 or id < $3)
  order by created_us, id desc limit $4)
, gone as (
  delete from instances i using page p
  where i.id = p.id and i.ended_us < now_us() - $1
    and not exists (select from effects e where e.instance = i.id)
    and not exists (select from mail m where m.instance = i.id)
  returning i.id, i.error is not null as faulted)
, values_gone as (delete from large_values v using gone where v.instance = gone.id)
, parked_gone as (delete from parked p using gone where p.key = gone.id)
, streams_gone as (delete from quarantine q using gone where q.instance = gone.id)
, suspects_gone as (delete from suspects s using gone where s.id = gone.id)
select (select count(*) from gone), (select count(*) from page), p.created_us, p.id,
       array(select id from gone where faulted)
from (select 1) one left join (select * from page order by created_us desc, id limit 1) p on true";

// What faulted is still found by its business key. No index knows an instance's bookmarks, so they are looked for only
// where there may be some.
const BOOKMARKS: &str = "delete from bookmarks where instance = any($1)";

/// A mark that nobody cleared for this long is of a message that went elsewhere.
const SUSPECTS: &str = "delete from suspects where at_us < now_us() - 604800000000";

/// Makes the partitions of these days.
pub(super) async fn prepare(store: &PostgresStore) -> Result<(), sqlx::Error> {
    store.connections.fetch(sqlx::query(PREPARE).bind(DAYS_AHEAD)).await?;
    Ok(())
}

pub(super) async fn retire(
    store: &PostgresStore,
    keep: &Keep,
    after: Option<RetirePlace>,
    limit: i64,
) -> Result<Retired, sqlx::Error> {
    let mut retired = Retired::default();
    if after.is_none() {
        prepare(store).await?;
        store.connections.fetch(sqlx::query(MOVE_ON)).await?;
        store.connections.fetch(sqlx::query(SUSPECTS)).await?;
        drop_partitions(store, keep, &mut retired).await?;
        if let Some(letters_us) = keep.letters_us {
            loop {
                let rows = store.connections.fetch(sqlx::query(LETTERS).bind(letters_us).bind(limit)).await?;
                retired.letters += rows.len() as u64;
                if (rows.len() as i64) < limit {
                    break;
                }
            }
        }
    }
    if let Some(instances_us) = keep.instances_us {
        let (created_us, id) = after.unwrap_or((i64::MIN, InstanceId(uuid::Uuid::nil())));
        let page = sqlx::query(INSTANCES).bind(instances_us).bind(created_us).bind(id.0).bind(limit);
        let rows = store.connections.fetch(page).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        retired.instances = row.try_get::<i64, _>(0)?.unsigned_abs();
        let faulted: Vec<uuid::Uuid> = row.try_get(4)?;
        if !faulted.is_empty() {
            store.connections.fetch(sqlx::query(BOOKMARKS).bind(faulted)).await?;
        }
        if row.try_get::<i64, _>(1)? >= limit {
            retired.next = Some((row.try_get(2)?, InstanceId(row.try_get(3)?)));
        }
    }
    Ok(retired)
}

async fn drop_partitions(store: &PostgresStore, keep: &Keep, retired: &mut Retired) -> Result<(), sqlx::Error> {
    // The day of this is before every day.
    let for_ever = i64::MAX / 2;
    for _ in 0..DROPS_MAX {
        let statement =
            sqlx::query(DROP).bind(keep.inbox_us.unwrap_or(for_ever)).bind(keep.journal_us.unwrap_or(for_ever));
        let rows = match store.connections.fetch(statement).await {
            Ok(rows) => rows,
            Err(error) if lock_timed_out(&error) => {
                tracing::info!("an old partition is in use and goes next time: {error}");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match rows.first().map(|row| row.try_get::<Option<String>, _>(0)).transpose()?.flatten() {
            None => return Ok(()),
            Some(name) if name.starts_with("inbox") => retired.inbox += 1,
            Some(_) => retired.journal += 1,
        }
    }
    Ok(())
}

fn lock_timed_out(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some("55P03"))
}
