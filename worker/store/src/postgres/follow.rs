//! The journal as people follow it, all shards as one; letters that are given to the workers again; and counts of everything.
//!
//! A place in the whole journal is like a relay's cursor: which transactions were read, and which were still open, so that one
//! that commits late is not skipped (PROTOCOL D14).

use std::collections::HashMap;

use sqlx::Row as _;
use uuid::Uuid;

use super::relay::{Place, Snapshot, journal_row, list, number};
use super::{PostgresStore, retire};
use crate::port::{Census, JournalFrom, JournalPage, Redrive};
use crate::rows::{JournalRow, SHARDS};

// Shard by shard, as the index has it; what one transaction wrote is never parted.
const FOLLOW: &str = "
select pg_current_snapshot()::text, j.shard, j.late, j.xid::text, j.instance, j.revision, j.definition, j.at_us, j.events,
       j.seq
from (select 1) one left join (
  select s.shard, r.* from generate_series(0, $1::int4 - 1) s(shard) cross join lateral (
    (select true as late, x.* from unnest($2::text::xid8[]) p(open) cross join lateral (
       select xid, seq, instance, revision, definition, at_us, events from journal
       where shard = s.shard and xid = p.open and day >= $5::int4 offset 0) x
     order by x.xid fetch first ($4::int8) rows with ties)
    union all
    (select false, xid, seq, instance, revision, definition, at_us, events from journal
     where shard = s.shard and xid >= $3::text::xid8 and day >= $5::int4
     order by xid fetch first ($4::int8) rows with ties)) r) j on true";

// The same from the end.
const END: &str = "
select pg_current_snapshot()::text, j.shard, j.xid::text, j.instance, j.revision, j.definition, j.at_us, j.events, j.seq
from (select 1) one left join (
  select s.shard, r.* from generate_series(0, $1::int4 - 1) s(shard) cross join lateral (
    select xid, seq, instance, revision, definition, at_us, events from journal
    where shard = s.shard and xid < $2::text::xid8
    order by xid desc fetch first ($3::int8) rows with ties) r) j on true";

// The inbox forgets the messages, and the relay is told.
const REDRIVE: &str = "
with given as materialized (select * from unnest($1::uuid[], $2::uuid[]) as x(letter, message))
, known as (
  update dead_letters l set redriven_us = now_us() from (select distinct letter from given) g
  where l.id = g.letter returning l.id)
, forgotten as (
  delete from inbox i using given g
  where i.key = g.message and exists (select from dead_letters l where l.id = g.letter))
insert into journal (at_us, instance, revision, definition, shard, events)
select now_us(), id, -1, 0, (get_byte(uuid_send(id), 0) & ($3::int4 - 1))::int2, '' from known
returning instance";

const CENSUS: &str = "
select now_us(),
  (select coalesce(array_agg(s.status), '{}') from (select status from instances group by status order by status) s),
  (select coalesce(array_agg(s.n), '{}') from (select count(*) n from instances group by status order by status) s),
  (select count(*) from instances where aside is not null),
  (select count(*) from parked where not matched),
  (select coalesce(array_agg(l.code), '{}') from (select code from dead_letters group by code order by code) l),
  (select coalesce(array_agg(l.n), '{}') from (select count(*) n from dead_letters group by code order by code) l),
  (select count(*) from mail),
  (select count(*) from effects),
  (select count(*) from timers where due_us <= now_us()),
  (select min(u.at_us) from relay_cursor c cross join lateral (
    (select at_us from journal j
     where j.shard = c.shard and j.xid >= c.next_xid and j.day >= c.day order by j.xid, j.seq limit 1)
    union all
    (select at_us from journal j where j.shard = c.shard and j.xid = any(c.pending) and j.day >= c.day limit 1)) u),
  (select count(*) from quarantine),
  (select count(*) from workers where until_us > now_us())";

/// What `day_of` divides by.
const DAY_US: i64 = 86_400_000_000;

pub(super) async fn journal(store: &PostgresStore, from: &JournalFrom) -> Result<JournalPage, sqlx::Error> {
    let (next, pending) = from.place.as_deref().and_then(|place| place.split_once(':')).unwrap_or(("0", ""));
    let place = Place { next: number(next)?, pending: list(pending)? };
    let each = part(from.limit);
    let statement = sqlx::query(FOLLOW).bind(i32::from(SHARDS)).bind(format!("{{{pending}}}")).bind(next.to_owned());
    // With a day's slack for clocks, as the relay has it.
    let first_day = from.since_us.map_or(0, |since_us| i32::try_from(since_us / DAY_US - 1).unwrap_or(0));
    let mut snapshot = None;
    let mut found = Vec::new();
    for row in &store.connections.fetch(statement.bind(each).bind(first_day)).await? {
        snapshot = Some(Snapshot::parse(&row.try_get::<String, _>(0)?)?);
        let Some(shard) = row.try_get::<Option<i32>, _>(1)? else { continue };
        let xid = number(&row.try_get::<String, _>(3)?)?;
        found.push((shard, row.try_get::<bool, _>(2)?, xid, row.try_get::<i64, _>(9)?, journal_row(row, 4)?));
    }
    let snapshot = snapshot.ok_or(sqlx::Error::RowNotFound)?;
    // Where a shard gave all that it was asked for, there may be more behind its last transaction: the page ends there.
    let mut cut: Option<u64> = None;
    for shard in 0..i32::from(SHARDS) {
        for late in [true, false] {
            let part = found.iter().filter(|row| row.0 == shard && row.1 == late);
            let (count, last) = part.fold((0, 0), |(count, last), row| (count + 1, row.2.max(last)));
            if count >= each {
                cut = Some(cut.map_or(last, |cut| cut.min(last)));
            }
        }
    }
    if let Some(cut) = cut {
        found.retain(|row| row.2 <= cut);
    }
    found.sort_unstable_by_key(|row| (row.2, row.3));
    let next = place.after(cut, &snapshot);
    let since_us = from.since_us.unwrap_or(i64::MIN);
    let rows = found.into_iter().map(|row| row.4).filter(|row| row.has_events() && row.at_us >= since_us).collect();
    Ok(JournalPage { rows, place: next.to_string(), full: cut.is_some() })
}

/// Each shard gives its part of a page; what one transaction wrote may be longer.
fn part(limit: i64) -> i64 {
    (limit / i64::from(SHARDS)).max(16)
}

pub(super) async fn journal_end(
    store: &PostgresStore,
    before: Option<&str>,
    limit: i64,
) -> Result<JournalPage, sqlx::Error> {
    let before = before.map_or(Ok(u64::MAX), |place| number(place.split_once(':').map_or(place, |(next, _)| next)))?;
    let each = if limit == 0 { 0 } else { part(limit) };
    let mut snapshot = None;
    let mut found = Vec::new();
    let mut shards: HashMap<i32, (i64, u64)> = HashMap::new();
    let statement = sqlx::query(END).bind(i32::from(SHARDS)).bind(before.to_string()).bind(each);
    for row in &store.connections.fetch(statement).await? {
        snapshot = Some(Snapshot::parse(&row.try_get::<String, _>(0)?)?);
        let Some(shard) = row.try_get::<Option<i32>, _>(1)? else { continue };
        let xid = number(&row.try_get::<String, _>(2)?)?;
        found.push((xid, row.try_get::<i64, _>(8)?, journal_row(row, 3)?));
        let (count, first) = shards.entry(shard).or_insert((0, u64::MAX));
        (*count, *first) = (*count + 1, xid.min(*first));
    }
    let snapshot = snapshot.ok_or(sqlx::Error::RowNotFound)?;
    if limit == 0 {
        let place = Place::default().after(None, &snapshot);
        return Ok(JournalPage { rows: Vec::new(), place: place.to_string(), full: false });
    }
    // Where a shard gave all that it was asked for, there may be more before its first transaction: the page begins there.
    let cut = shards.values().filter(|(count, _)| *count >= each).map(|(_, first)| *first).max();
    found.retain(|row| row.0 >= cut.unwrap_or(0));
    found.sort_unstable_by_key(|row| (row.0, row.1));
    let place = cut.map_or_else(Place::default, |cut| Place::before(cut, &snapshot));
    let rows = found.into_iter().map(|row| row.2).filter(JournalRow::has_events).collect();
    Ok(JournalPage { rows, place: place.to_string(), full: cut.is_some() })
}

pub(super) async fn redrive(store: &PostgresStore, letters: &[Redrive]) -> Result<u64, sqlx::Error> {
    let (ids, messages): (Vec<Uuid>, Vec<Option<Uuid>>) =
        letters.iter().map(|it| (it.letter.0, it.message.map(|message| message.0))).unzip();
    // It writes to the journal, and there may be no partition for today when no worker runs.
    retire::prepare(store).await?;
    let statement = sqlx::query(REDRIVE).bind(ids).bind(messages).bind(i32::from(SHARDS));
    Ok(store.connections.fetch(statement).await?.len() as u64)
}

pub(super) async fn census(store: &PostgresStore) -> Result<Census, sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(CENSUS)).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (statuses, instances): (Vec<i16>, Vec<i64>) = (row.try_get(1)?, row.try_get(2)?);
    let (codes, letters): (Vec<String>, Vec<i64>) = (row.try_get(5)?, row.try_get(6)?);
    Ok(Census {
        now_us: row.try_get(0)?,
        instances: statuses.into_iter().zip(instances).collect(),
        aside: row.try_get(3)?,
        parked: row.try_get(4)?,
        letters: codes.into_iter().zip(letters).collect(),
        mail: row.try_get(7)?,
        effects: row.try_get(8)?,
        timers_due: row.try_get(9)?,
        unpublished_since_us: row.try_get(10)?,
        quarantined: row.try_get(11)?,
        workers: row.try_get(12)?,
    })
}
