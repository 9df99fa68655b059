//! The relay's reading of the journal (PROTOCOL D13, D14). A cursor is a snapshot of transaction ids: everything below
//! `next` was read but what was `pending`, that is, still open. So a transaction that commits late is found when it does,
//! and nobody's open transaction holds up the others.
//!
//! An instance's rows come in order, because whoever writes revision r + 1 has seen r committed before it got its
//! transaction's id; so in each page, which is sorted by these ids, and over the pages, r comes first.

use std::collections::BTreeMap;

use flagstop_schemas::InstanceId;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::load::bytes;
use crate::port::{Ahead, Cursor, Page};
use crate::rows::{JournalRow, WorkerId};

// A transaction's rows are never parted (`with ties`): a place lies between two transactions. Each pending transaction is
// looked up by itself (`offset 0` holds the planner to that), and the rest is one range with one lower bound: otherwise a
// shard is read from its beginning at every poll. Rows that are set aside come without their events: they take the cursor
// along, and a shard where nothing else is new does not read them at every poll. Partitions of days before the cursor's
// are not looked into: nothing in them is unread.
const READ: &str = "
select c.shard, c.epoch, c.next_xid::text, c.pending::text, pg_current_snapshot()::text,
       j.late, j.xid::text, j.seq, j.instance, j.revision, j.definition, j.at_us, case when not q.aside then j.events end,
       c.day, day_of(now_us()) - 1
from relay_cursor k
left join unnest($3::int2[], $4::int4[], $5::text[], $6::text[], $7::int4[]) as a(shard, epoch, next, pending, day)
  on a.shard = k.shard and a.epoch = k.epoch
cross join lateral (
  select k.shard, k.epoch, coalesce(a.next::xid8, k.next_xid) as next_xid, coalesce(a.pending::xid8[], k.pending) as pending,
         greatest(k.day, a.day) as day) c
cross join lateral (
  (select true as late, r.* from unnest(c.pending) p(open) cross join lateral (
     select xid, seq, instance, revision, definition, at_us, events from journal r
     where r.shard = c.shard and r.xid = p.open and r.day >= c.day offset 0) r
   order by r.xid fetch first ($2::bigint) rows with ties)
  union all
  (select false, xid, seq, instance, revision, definition, at_us, events from journal r
   where r.shard = c.shard and r.xid >= c.next_xid and r.day >= c.day
   order by xid fetch first ($2::bigint) rows with ties)
) j
cross join lateral (
  select exists (select 1 from quarantine q where q.instance = j.instance and q.revision <= j.revision) as aside) q
where k.owner = $1 and k.shard <> all ($8::int2[])";

const SAVE: &str = "
update relay_cursor c set next_xid = x.next, pending = x.pending, day = greatest(c.day, x.day)
from (
  select r.shard, s.next::xid8 as next, s.pending::xid8[] as pending, s.day
  from relay_cursor r
  join unnest($2::int2[], $3::int4[], $4::text[], $5::text[], $6::int4[]) as s(shard, epoch, next, pending, day)
    on r.shard = s.shard and r.epoch = s.epoch
  where r.owner = $1 and r.next_xid <= s.next::xid8
  order by r.shard for update of r
) x where c.shard = x.shard";

/// Transaction ids below `next`, without those that are `pending`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) next: u64,
    pub(super) pending: Vec<u64>,
}

/// Which transactions a statement could see.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The first id that was not given yet.
    end: u64,
    /// Those below it that were open.
    open: Vec<u64>,
}

/// A row with its place in the journal.
#[derive(Debug)]
struct Found {
    late: bool,
    xid: u64,
    seq: i64,
    /// Not there when its stream is set aside (PROTOCOL D13).
    row: Option<JournalRow>,
}

/// A shard's page as it is put together.
#[derive(Debug)]
struct Draft {
    epoch: i32,
    place: Place,
    snapshot: Snapshot,
    /// The first day with something unread: before this page, and once all is read, with a day's slack for clocks.
    days: (i32, i32),
    found: Vec<Found>,
}

/// Cursors as the columns of a statement.
#[derive(Debug, Default)]
struct Columns {
    shards: Vec<i16>,
    epochs: Vec<i32>,
    nexts: Vec<String>,
    pendings: Vec<String>,
    days: Vec<i32>,
}

impl Columns {
    fn of(cursors: &[Cursor]) -> Result<Self, sqlx::Error> {
        let mut columns = Self::default();
        for cursor in cursors {
            let (next, rest) = cursor.place.split_once(':').unwrap_or((&cursor.place, ""));
            let (pending, day) = rest.split_once(':').unwrap_or((rest, "0"));
            columns.shards.push(cursor.shard);
            columns.epochs.push(cursor.epoch);
            columns.nexts.push(number(next)?.to_string());
            columns.pendings.push(format!("{{{}}}", joined(&list(pending)?)));
            columns.days.push(i32::try_from(number(day)?).unwrap_or(0));
        }
        Ok(columns)
    }
}

pub(super) async fn read(
    store: &PostgresStore,
    worker: WorkerId,
    limit: i64,
    ahead: &Ahead,
) -> Result<Vec<Page>, sqlx::Error> {
    let limit = limit.max(1);
    let Columns { shards, epochs, nexts, pendings, days } = Columns::of(&ahead.cursors)?;
    let statement = sqlx::query(READ).bind(worker.0).bind(limit).bind(shards).bind(epochs).bind(nexts).bind(pendings);
    let mut drafts: BTreeMap<i16, Draft> = BTreeMap::new();
    for row in &store.connections.fetch(statement.bind(days).bind(&ahead.full[..])).await? {
        let found = Found {
            late: row.try_get(5)?,
            xid: number(&row.try_get::<String, _>(6)?)?,
            seq: row.try_get(7)?,
            row: match row.try_get::<Option<&[u8]>, _>(12)? {
                Some(_) => Some(journal_row(row, 8)?),
                None => None,
            },
        };
        let shard = row.try_get(0)?;
        if let Some(draft) = drafts.get_mut(&shard) {
            draft.found.push(found);
        } else {
            let place =
                Place { next: number(&row.try_get::<String, _>(2)?)?, pending: list(&row.try_get::<String, _>(3)?)? };
            let snapshot = Snapshot::parse(&row.try_get::<String, _>(4)?)?;
            let days = (row.try_get(13)?, row.try_get(14)?);
            drafts.insert(shard, Draft { epoch: row.try_get(1)?, place, snapshot, days, found: vec![found] });
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(drafts.into_iter().map(|(shard, draft)| draft.page(shard, limit)).collect())
}

impl Draft {
    fn page(mut self, shard: i16, limit: usize) -> Page {
        let late = self.found.iter().filter(|found| found.late).count();
        let late_full = late >= limit;
        let full = late_full || self.found.len() - late >= limit;
        if late_full {
            // There may be more late rows, and these come before all others.
            self.found.retain(|found| found.late);
        }
        self.found.sort_unstable_by_key(|found| (found.xid, found.seq));
        let last = self.found.last().filter(|_| full).map(|found| found.xid);
        let next = self.place.after(last, &self.snapshot);
        let rows = self.found.into_iter().filter_map(|found| found.row).collect();
        let day = if full { self.days.0 } else { self.days.1 };
        Page { shard, rows, next: Cursor { shard, epoch: self.epoch, place: format!("{next}:{day}") }, full }
    }
}

impl Place {
    /// The place behind a page that ends with the transaction `last`, or with the snapshot itself when nothing was left out.
    pub(super) fn after(&self, last: Option<u64>, snapshot: &Snapshot) -> Self {
        let Some(last) = last else { return Self { next: snapshot.end, pending: snapshot.open.clone() } };
        let open = snapshot.open.iter().copied().filter(|xid| *xid <= last);
        let unread = self.pending.iter().copied().filter(|xid| *xid > last);
        Self { next: self.next.max(last + 1), pending: open.chain(unread).collect() }
    }

    /// The place before the transaction `first`: what was open below it is still to come.
    pub(super) fn before(first: u64, snapshot: &Snapshot) -> Self {
        Self { next: first, pending: snapshot.open.iter().copied().filter(|xid| *xid < first).collect() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.next, joined(&self.pending))
    }
}

impl Snapshot {
    /// Reads Postgres' `xmin:xmax:open,…`.
    pub(super) fn parse(text: &str) -> Result<Self, sqlx::Error> {
        let mut parts = text.split(':').skip(1);
        let (end, open) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Ok(Self { end: number(end)?, open: list(open)? })
    }
}

fn joined(xids: &[u64]) -> String {
    xids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

pub(super) fn number(text: &str) -> Result<u64, sqlx::Error> {
    text.parse().map_err(|_| sqlx::Error::Decode(format!("{text:?} is no transaction id of Postgres").into()))
}

pub(super) fn list(text: &str) -> Result<Vec<u64>, sqlx::Error> {
    let text = text.trim_matches(['{', '}']);
    text.split(',').filter(|xid| !xid.is_empty()).map(number).collect()
}

pub(super) async fn save(store: &PostgresStore, worker: WorkerId, cursors: &[Cursor]) -> Result<(), sqlx::Error> {
    if cursors.is_empty() {
        return Ok(());
    }
    let Columns { shards, epochs, nexts, pendings, days } = Columns::of(cursors)?;
    let statement = sqlx::query(SAVE).bind(worker.0).bind(shards).bind(epochs).bind(nexts).bind(pendings).bind(days);
    store.connections.fetch(statement).await?;
    Ok(())
}

/// Reads `instance, revision, definition, at_us, events` from a column on.
pub(super) fn journal_row(row: &PgRow, from: usize) -> Result<JournalRow, sqlx::Error> {
    Ok(JournalRow {
        instance: InstanceId(row.try_get(from)?),
        revision: row.try_get(from + 1)?,
        definition: row.try_get(from + 2)?,
        at_us: row.try_get(from + 3)?,
        events: bytes(row, from + 4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(place: &str, last: Option<u64>, snapshot: &str) -> String {
        let (next, pending) = place.split_once(':').expect("a place has two parts");
        let place = Place { next: number(next).expect("a number"), pending: list(pending).expect("a list") };
        place.after(last, &Snapshot::parse(snapshot).expect("a snapshot")).to_string()
    }

    #[test]
    fn a_whole_page_moves_to_the_snapshots_end_and_remembers_what_was_open() {
        assert_eq!(after("10:", None, "10:20:12,15"), "20:12,15");
        assert_eq!(after("20:12,15", None, "15:30:15"), "30:15", "12 was read, or it was rolled back");
    }

    #[test]
    fn a_cut_page_moves_behind_its_last_transaction_and_never_back() {
        assert_eq!(after("10:", Some(14), "10:20:12,15"), "15:12", "15 lies beyond the cut and comes by itself");
        assert_eq!(
            after("20:12,15,17", Some(12), "16:30:17,25"),
            "20:15,17",
            "late rows first, the rest stays pending"
        );
    }
}
