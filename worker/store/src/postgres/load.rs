//! What a batch needs to know before it decides, and the second looks for lost wake-ups (PROTOCOL D3). Each is one
//! statement, so one snapshot and one round trip; nothing here writes.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::PostgresStore;
use crate::port::{DueTimer, Hit, LoadRequest, Loaded, LookRequest, MAIL_MAX, MEETINGS_MAX};
use crate::rows::{InstanceRow, LargeValue, MailRow, Meeting, Parent, ScheduleMemory, ScheduleRow};

// `offset 0` holds the planner to looking each key up by itself: with statistics that are missing or old it would read
// whole tables and hash them. The inbox has a partition per day, and every one is asked once, for all keys.

// `statement_timestamp` lies before the snapshot: an event that parks while this runs is never taken for older than the
// wait that it meets.
const LOAD: &str = "
with hit as materialized (
  select b.* from unnest($2::uuid[]) k(key)
  cross join lateral (select key, instance, slot from bookmarks where key = k.key offset 0) b
), who as materialized (
  select id from unnest($3::uuid[]) i(id) union select instance from hit
)
select 0, null::uuid, null::uuid, (extract(epoch from statement_timestamp()) * 1000000)::bigint,
       (select value from meta where name = 'catalogue'), null::int4, null::bytea, null::text
union all
select 1, key, null, null, null, null, null, null from inbox where key = any($1::uuid[])
union all
select 2, key, instance, slot, null, null, null, null from hit
union all
select 3, i.id, i.parent, i.definition, i.parent_slot, i.revision, i.state, i.aside from who
  cross join lateral (
    select id, parent, parent_slot, definition, revision, state, aside from instances where id = who.id offset 0) i
union all
select 4, m.instance, null, m.definition, m.id, null, m.stimulus, null from who
  cross join lateral (
    select id, instance, definition, stimulus from mail where instance = who.id order by id limit $4) m
union all
select 5, v.instance, v.hash, null, null, null, v.value, null from who
  cross join lateral (select instance, hash, value from large_values where instance = who.id offset 0) v
union all
select 6, s.id, s.awaits, s.due_us, s.token, s.definition, s.state, null from unnest($5::uuid[]) k(id)
  cross join lateral (select * from schedules where id = k.id offset 0) s";

/// Which of the seven parts of `LOAD` a row comes from.
mod part {
    pub(super) const CLOCK: i32 = 0;
    pub(super) const SEEN: i32 = 1;
    pub(super) const HIT: i32 = 2;
    pub(super) const INSTANCE: i32 = 3;
    pub(super) const MAIL: i32 = 4;
    pub(super) const VALUE: i32 = 5;
}

// The index gives each key's parked rows in order of age, so the limit stops the reading. What a wait is too late for does
// not count.
const LOOK: &str = "
select m.* from unnest($1::uuid[]) k(key)
cross join lateral (
  select p.id, p.key, b.instance, b.slot, p.at_us, p.event
  from parked p
  cross join lateral (select instance, slot, since_us from bookmarks where key = k.key offset 0) b
  where p.key = k.key and (b.since_us is null or p.at_us >= b.since_us)
  order by p.at_us, p.id, b.instance, b.slot limit $2
) m
union all
select m.* from unnest($3::uuid[]) k(id)
cross join lateral (select id from instances where id = k.id offset 0) i
cross join lateral (
  select p.id, p.key, i.id as instance, -1::int8 as slot, p.at_us, p.event from parked p
  where p.key = k.id order by p.at_us, p.id limit $2
) m
order by 5, 1, 3, 4";

const SWEEP: &str = "
with page as materialized (
  select id, key, at_us, event from parked where id > $1 order by id limit $2
)
select p.id, p.key, b.instance, b.slot, p.at_us, case when b.slot is not null then p.event end
from page p left join lateral (
  (select instance, slot, since_us from bookmarks where key = p.key offset 0)
  union all
  (select id, -1, null from instances where id = p.key offset 0)) b
  on b.since_us is null or p.at_us >= b.since_us
order by p.id, b.instance, b.slot";

// Each shard's oldest, from its part of the index: a crowd of due timers is neither read nor sorted as a whole.
const DUE: &str = "
select t.due_us, t.instance, t.slot, s.shard
from unnest($1::int2[]) s(shard) cross join lateral (
  select due_us, instance, slot from timers
  where shard = s.shard and (due_us, instance, slot) > ($3::int8, $4::uuid, $5::int8)
    and due_us <= (extract(epoch from statement_timestamp()) * 1000000)::bigint
  order by due_us, instance, slot limit $2
) t
order by t.due_us, t.instance, t.slot";

// What is awaited has mostly not ended: of these there are few, one per workflow that runs `after` itself.
const DUE_SCHEDULES: &str = "
select s.id, s.token, s.definition, s.due_us, s.awaits, s.state, s.ended_us from (
  (select t.*, null::int8 as ended_us, t.due_us as since_us
   from unnest($1::int2[]) k(shard) cross join lateral (
     select id, token, definition, due_us, awaits, state from schedules
     where shard = k.shard and due_us is not null
       and due_us <= (extract(epoch from statement_timestamp()) * 1000000)::bigint
     order by due_us, id limit $2) t)
  union all
  (select t.*, i.ended_us, i.ended_us
   from unnest($1::int2[]) k(shard) cross join lateral (
     select id, token, definition, due_us, awaits, state from schedules
     where shard = k.shard and awaits is not null offset 0) t
   cross join lateral (select ended_us from instances where id = t.awaits and ended_us is not null offset 0) i)) s
order by s.since_us, s.id limit $2";

// Mail that nobody sees to has its time with a minus, so it is stale at once.
const STALE: &str = "
select m.instance, min(abs(m.at_us)) from mail m
where m.at_us <= (extract(epoch from clock_timestamp()) * 1000000)::bigint - $2 and m.shard = any($1) and m.instance > $4
  and (m.at_us <= 0 or not exists (select from instances i where i.id = m.instance and i.aside is not null))
group by m.instance order by m.instance limit $3";

fn uuids(keys: &[Hash16]) -> Vec<Uuid> {
    keys.iter().map(|key| key.0).collect()
}

pub(super) async fn load(store: &PostgresStore, request: &LoadRequest) -> Result<Loaded, sqlx::Error> {
    let mut messages = uuids(&request.messages);
    let mut keys = uuids(&request.keys);
    for list in [&mut messages, &mut keys] {
        list.sort_unstable();
        list.dedup();
    }
    let instances: Vec<Uuid> = request.instances.iter().map(|id| id.0).collect();
    let statement = sqlx::query(LOAD).bind(messages).bind(keys).bind(instances).bind(MAIL_MAX as i64);
    let statement = statement.bind(uuids(&request.schedules));
    let mut loaded = Loaded::default();
    let mut values: HashMap<InstanceId, Vec<LargeValue>> = HashMap::new();
    for row in &store.connections.fetch_counted(statement).await? {
        match row.try_get(0)? {
            part::CLOCK => (loaded.now_us, loaded.catalogue) = (row.try_get(3)?, row.try_get(4)?),
            part::SEEN => loaded.seen.push(Hash16(row.try_get(1)?)),
            part::HIT => loaded.hits.push(Hit {
                key: Hash16(row.try_get(1)?),
                instance: InstanceId(row.try_get(2)?),
                slot: row.try_get(3)?,
            }),
            part::INSTANCE => loaded.instances.push(InstanceRow {
                id: InstanceId(row.try_get(1)?),
                definition: small(row, 3)?,
                revision: row.try_get(5)?,
                parent: parent(row.try_get(2)?, row.try_get(4)?),
                state: bytes(row, 6)?,
                values: Vec::new(),
                aside: row.try_get(7)?,
            }),
            part::VALUE => {
                let of = values.entry(InstanceId(row.try_get(1)?)).or_default();
                of.push(LargeValue { hash: Hash16(row.try_get(2)?), bytes: bytes(row, 6)? });
            }
            part::MAIL => loaded.mail.push(MailRow {
                instance: InstanceId(row.try_get(1)?),
                definition: small(row, 3)?,
                id: row.try_get(4)?,
                stimulus: bytes(row, 6)?,
            }),
            _ => loaded.schedules.push(ScheduleRow {
                id: Hash16(row.try_get(1)?),
                token: row.try_get(4)?,
                memory: ScheduleMemory {
                    definition: row.try_get(5)?,
                    due_us: row.try_get(3)?,
                    awaits: row.try_get::<Option<Uuid>, _>(2)?.map(InstanceId),
                    state: bytes(row, 6)?,
                },
                awaited_ended_us: None,
            }),
        }
    }
    for instance in &mut loaded.instances {
        instance.values = values.remove(&instance.id).unwrap_or_default();
    }
    loaded.mail.sort_unstable_by_key(|mail| mail.id);
    Ok(loaded)
}

pub(super) async fn look(store: &PostgresStore, request: &LookRequest) -> Result<Vec<Meeting>, sqlx::Error> {
    let mut keys: Vec<Uuid> = request.parked.iter().chain(&request.bookmarks).map(|key| key.0).collect();
    keys.sort_unstable();
    keys.dedup();
    let kept: BTreeSet<Uuid> = request.kept.iter().map(|id| id.0).collect();
    let each = (MEETINGS_MAX / (keys.len() + kept.len()).max(1)).max(1) as i64;
    let statement = sqlx::query(LOOK).bind(keys).bind(each).bind(kept.into_iter().collect::<Vec<_>>());
    store.connections.fetch_counted(statement).await?.iter().map(meeting).collect()
}

pub(super) async fn sweep(
    store: &PostgresStore,
    after: Option<Hash16>,
    limit: i64,
) -> Result<(Vec<Meeting>, Option<Hash16>), sqlx::Error> {
    // No hash is nil: one bound serves the first page, too, and so the plan is one range of the index for all pages.
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let mut meetings = Vec::new();
    let (mut scanned, mut last) = (0, None);
    for row in &store.connections.fetch(sqlx::query(SWEEP).bind(after).bind(limit)).await? {
        let id = Some(Hash16(row.try_get(0)?));
        if id != last {
            scanned += 1;
            last = id;
        }
        if row.try_get::<Option<i64>, _>(3)?.is_some() {
            meetings.push(meeting(row)?);
        }
    }
    Ok((meetings, last.filter(|_| scanned >= limit)))
}

/// The shards have about equal parts of what is due, so twice an equal part of each is nearly always enough for a page.
pub(super) async fn due_timers(
    store: &PostgresStore,
    shards: &[i16],
    mut after: Option<DueTimer>,
    limit: i64,
) -> Result<Vec<DueTimer>, sqlx::Error> {
    let wanted = usize::try_from(limit).unwrap_or(0);
    let mut each = 2 * wanted / shards.len().max(1) + 8;
    let mut due: Vec<DueTimer> = Vec::new();
    while due.len() < wanted {
        let part = each.min(wanted - due.len());
        let from = after.unwrap_or(DueTimer { due_us: i64::MIN, instance: InstanceId(Uuid::nil()), slot: i64::MIN });
        let statement = sqlx::query(DUE).bind(shards.to_vec()).bind(part as i64);
        let statement = statement.bind(from.due_us).bind(from.instance.0).bind(from.slot);
        let mut given: HashMap<i16, usize> = HashMap::new();
        let mut may_be_more = false;
        for row in &store.connections.fetch(statement).await? {
            let timer =
                DueTimer { due_us: row.try_get(0)?, instance: InstanceId(row.try_get(1)?), slot: row.try_get(2)? };
            due.push(timer);
            after = Some(timer);
            if due.len() == wanted {
                break;
            }
            let of_shard = given.entry(row.try_get(3)?).or_default();
            *of_shard += 1;
            // Here a shard's part ends, and its next one may be older than what the others have given behind this.
            if *of_shard == part {
                may_be_more = true;
                break;
            }
        }
        if !may_be_more {
            break;
        }
        each *= 2;
    }
    Ok(due)
}

pub(super) async fn due_schedules(
    store: &PostgresStore,
    shards: &[i16],
    limit: i64,
) -> Result<Vec<ScheduleRow>, sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(DUE_SCHEDULES).bind(shards).bind(limit)).await?;
    let schedule = |row: &PgRow| {
        Ok(ScheduleRow {
            id: Hash16(row.try_get(0)?),
            token: row.try_get(1)?,
            memory: ScheduleMemory {
                definition: row.try_get(2)?,
                due_us: row.try_get(3)?,
                awaits: row.try_get::<Option<Uuid>, _>(4)?.map(InstanceId),
                state: bytes(row, 5)?,
            },
            awaited_ended_us: row.try_get(6)?,
        })
    };
    rows.iter().map(schedule).collect()
}

pub(super) async fn stale_mail(
    store: &PostgresStore,
    shards: &[i16],
    age_us: i64,
    after: Option<InstanceId>,
    limit: i64,
) -> Result<Vec<(InstanceId, i64)>, sqlx::Error> {
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let rows = store.connections.fetch(sqlx::query(STALE).bind(shards).bind(age_us).bind(limit).bind(after)).await?;
    rows.iter().map(|row| Ok((InstanceId(row.try_get(0)?), row.try_get(1)?))).collect()
}

fn meeting(row: &PgRow) -> Result<Meeting, sqlx::Error> {
    Ok(Meeting {
        parked: Hash16(row.try_get(0)?),
        key: Hash16(row.try_get(1)?),
        instance: InstanceId(row.try_get(2)?),
        slot: row.try_get(3)?,
        parked_us: row.try_get(4)?,
        event: bytes(row, 5)?,
    })
}

fn parent(instance: Option<Uuid>, slot: Option<i64>) -> Option<Parent> {
    Some(Parent { instance: InstanceId(instance?), slot })
}

/// A number that travels in a wider column.
fn small(row: &PgRow, column: usize) -> Result<i32, sqlx::Error> {
    let wide: i64 = row.try_get(column)?;
    i32::try_from(wide).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A `bytea`.
pub(super) fn bytes(row: &PgRow, column: usize) -> Result<Bytes, sqlx::Error> {
    row.try_get::<Vec<u8>, _>(column).map(Bytes::from)
}
