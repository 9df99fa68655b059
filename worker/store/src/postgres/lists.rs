//! What people ask for: instances, their history, dead letters, parked events. And giving up parked events that expired.

use flagstop_schemas::{Hash16, InstanceId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::PostgresStore;
use super::load::bytes;
use super::relay::journal_row;
use crate::port::{InstanceFilter, LetterFilter, ParkedFilter};
use crate::rows::{DeadLetter, InstanceSummary, JournalRow, LargeValue, NewParked, ParkedRow, SHARDS};

macro_rules! select_letters {
    ($rest:literal) => {
        concat!(
            "select id, code, reason, origin, content_type, headers, body, at_us, redriven_us from dead_letters ",
            $rest
        )
    };
}

macro_rules! select_instances {
    ($rest:literal) => {
        concat!(
            "select id, definition, revision, status, business_key, parent, created_us, updated_us, ended_us, state, error, aside \
             from instances ",
            $rest
        )
    };
}

// In all lists a page goes on behind its last row, found by the index: one bound on the time, then the rest of that moment by
// id. The filters stand in one `case`, whose rows Postgres does not take for few: else it sorts the whole table for each page.
const INSTANCES: &str = select_instances!(
    "where created_us <= case when $2::uuid is null then 9223372036854775807
                              else (select created_us from instances where id = $2) end
       and ($2::uuid is null or created_us < (select created_us from instances where id = $2) or id > $2)
       and case when $10::bool then
             (cardinality($1::int2[]) = 0 or status = any($1))
             and (cardinality($4::int4[]) = 0 or definition = any($4))
             and ($5::text is null or business_key = $5)
             and ($6::text is null or strpos(lower(concat_ws(' ', error, aside)), lower($6)) > 0)
             and ($7::int8 is null or created_us < $7) and ($8::int8 is null or updated_us < $8)
             and (not $9::bool or aside is not null)
           else true end
     order by created_us desc, id limit $3"
);

const LETTERS: &str = select_letters!(
    "where at_us <= case when $2::uuid is null then 9223372036854775807
                         else (select at_us from dead_letters where id = $2) end
       and ($2::uuid is null or at_us < (select at_us from dead_letters where id = $2) or id > $2)
       and case when $1::text is null then true else code = $1 end
     order by at_us desc, id limit $3"
);

const LARGE_VALUES: &str = "select hash, value from large_values where instance = $1 order by hash";

// Transitions and remarks, each found by an index of its own; the numbers rise with an instance's time.
const HISTORY: &str = "
select instance, revision, definition, at_us, events, seq from journal where instance = $1 and revision > 0
union all
select instance, revision, definition, at_us, events, seq from journal where instance = $1 and revision = -2
order by seq";

macro_rules! select_unheard {
    ($which:literal) => {
        concat!(
            "select id, key, message, matched, expires_us, event_type, event, at_us from parked
             where ",
            $which,
            " and at_us <= case when $2::uuid is null then 9223372036854775807
                                else (select at_us from parked where id = $2) end
               and ($2::uuid is null or at_us < (select at_us from parked where id = $2) or id > $2)
               and case when matched then false else ($1::text is null or event_type = $1) end
             order by at_us desc, id limit $3"
        )
    };
}

const UNHEARD: &str = select_unheard!("true");

const UNHEARD_OF: &str = select_unheard!("id = any($4::uuid[])");

const PARKED: &str = "select id, key, message, matched, expires_us, event_type, event from parked \
                      where event_type = $1 order by at_us desc, id limit $2";

const EXPIRED: &str = "
select id, key, message, matched, expires_us, event_type, event from parked
where expires_us <= (extract(epoch from clock_timestamp()) * 1000000)::bigint and starts_with(event_type, $1)
order by expires_us, id limit $2";

// Who claims one of them at the same moment holds its row: it is his then. What is limited and locked is read once
// (`materialized`), however the deletion is planned.
const EXPIRE: &str = "
with clock as materialized (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us)
, expired as materialized (
  select id from parked where expires_us <= (select now_us from clock) and not starts_with(event_type, $5)
  order by expires_us limit $3 for update skip locked)
, gone as (delete from parked p using expired e where p.id = e.id 
  returning p.id, p.matched, p.event_type, p.event)
, dead_in as (
  insert into dead_letters (id, at_us, code, reason, origin, content_type, headers, body)
  select id, (select now_us from clock), $1, $2, 'parked ' || event_type, null, '[]', event from gone
  where not matched order by id
  on conflict (id) do update set redriven_us = null, at_us = excluded.at_us where dead_letters.redriven_us is not null
  returning id)
, journal_in as (
  insert into journal (at_us, instance, revision, definition, shard, events)
  select (select now_us from clock), id, 0, 0, (get_byte(uuid_send(id), 0) & ($4::int4 - 1))::int2, '' from dead_in)
select count(*), count(*) filter (where not matched) from gone";

pub(super) async fn letters(store: &PostgresStore, ids: &[Hash16]) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let text = select_letters!("where id = any($1) order by at_us, id");
    store.connections.fetch(sqlx::query(text).bind(ids)).await?.iter().map(letter).collect()
}

pub(super) async fn newest_letters(
    store: &PostgresStore,
    filter: &LetterFilter,
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let statement = sqlx::query(LETTERS).bind(filter.code.clone()).bind(filter.after.map(|id| id.0));
    store.connections.fetch(statement.bind(or_all(filter.limit))).await?.iter().map(letter).collect()
}

pub(super) async fn instances(
    store: &PostgresStore,
    filter: &InstanceFilter,
) -> Result<Vec<InstanceSummary>, sqlx::Error> {
    let statement = sqlx::query(INSTANCES).bind(filter.statuses.clone()).bind(filter.after.map(|id| id.0));
    let statement = statement.bind(or_all(filter.limit)).bind(filter.definitions.clone());
    let statement = statement.bind(filter.business_key.clone()).bind(filter.error.clone());
    let statement = statement.bind(filter.created_before_us).bind(filter.updated_before_us).bind(filter.aside);
    let any = InstanceFilter { limit: filter.limit, after: filter.after, ..InstanceFilter::default() };
    let statement = statement.bind(*filter != any);
    store.connections.fetch(statement).await?.iter().map(summary).collect()
}

pub(super) async fn instance(store: &PostgresStore, id: InstanceId) -> Result<Option<InstanceSummary>, sqlx::Error> {
    let statement = sqlx::query(select_instances!("where id = $1")).bind(id.0);
    store.connections.fetch(statement).await?.first().map(summary).transpose()
}

pub(super) async fn large_values(store: &PostgresStore, id: InstanceId) -> Result<Vec<LargeValue>, sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(LARGE_VALUES).bind(id.0)).await?;
    rows.iter().map(|row| Ok(LargeValue { hash: Hash16(row.try_get(0)?), bytes: bytes(row, 1)? })).collect()
}

pub(super) async fn history(store: &PostgresStore, id: InstanceId) -> Result<Vec<JournalRow>, sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(HISTORY).bind(id.0)).await?;
    rows.iter().map(|row| journal_row(row, 0)).collect()
}

pub(super) async fn parked_of_type(
    store: &PostgresStore,
    event_type: &str,
    limit: i64,
) -> Result<Vec<NewParked>, sqlx::Error> {
    let statement = sqlx::query(PARKED).bind(event_type).bind(or_all(limit));
    store.connections.fetch(statement).await?.iter().map(parked).collect()
}

pub(super) async fn expired(store: &PostgresStore, of: &str, limit: i64) -> Result<Vec<NewParked>, sqlx::Error> {
    let statement = sqlx::query(EXPIRED).bind(of.to_owned()).bind(limit);
    store.connections.fetch(statement).await?.iter().map(parked).collect()
}

pub(super) async fn expire(
    store: &PostgresStore,
    but: &str,
    code: &str,
    reason: &str,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let mut letters = 0;
    loop {
        let rest = limit - letters;
        let statement = sqlx::query(EXPIRE).bind(code.to_owned()).bind(reason.to_owned()).bind(rest);
        let statement = statement.bind(i32::from(SHARDS)).bind(but.to_owned());
        let rows = store.connections.fetch(statement).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        letters += row.try_get::<i64, _>(1)?;
        if row.try_get::<i64, _>(0)? < rest || letters >= limit {
            return Ok(letters.unsigned_abs());
        }
    }
}

pub(super) async fn parked_events(store: &PostgresStore, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, sqlx::Error> {
    let statement = sqlx::query(if filter.ids.is_empty() { UNHEARD } else { UNHEARD_OF });
    let statement = statement.bind(filter.event_type.clone()).bind(filter.after.map(|id| id.0));
    let mut statement = statement.bind(or_all(filter.limit));
    if !filter.ids.is_empty() {
        statement = statement.bind(filter.ids.iter().map(|id| id.0).collect::<Vec<Uuid>>());
    }
    let rows = store.connections.fetch(statement).await?;
    rows.iter().map(|row| Ok(ParkedRow { parked: parked(row)?, parked_us: row.try_get(7)? })).collect()
}

/// Postgres takes null for no limit.
fn or_all(limit: i64) -> Option<i64> {
    (limit != 0).then_some(limit)
}

fn letter(row: &PgRow) -> Result<DeadLetter, sqlx::Error> {
    Ok(DeadLetter {
        id: Hash16(row.try_get(0)?),
        code: row.try_get(1)?,
        reason: row.try_get(2)?,
        origin: row.try_get(3)?,
        content_type: row.try_get(4)?,
        headers: bytes(row, 5)?,
        body: bytes(row, 6)?,
        at_us: row.try_get(7)?,
        redriven_us: row.try_get(8)?,
    })
}

fn summary(row: &PgRow) -> Result<InstanceSummary, sqlx::Error> {
    Ok(InstanceSummary {
        id: InstanceId(row.try_get(0)?),
        definition: row.try_get(1)?,
        revision: row.try_get(2)?,
        status: row.try_get(3)?,
        business_key: row.try_get(4)?,
        parent: row.try_get::<Option<_>, _>(5)?.map(InstanceId),
        created_us: row.try_get(6)?,
        updated_us: row.try_get(7)?,
        ended_us: row.try_get(8)?,
        error: row.try_get(10)?,
        aside: row.try_get(11)?,
        state: bytes(row, 9)?,
    })
}

fn parked(row: &PgRow) -> Result<NewParked, sqlx::Error> {
    Ok(NewParked {
        id: Hash16(row.try_get(0)?),
        key: Hash16(row.try_get(1)?),
        message: Hash16(row.try_get(2)?),
        matched: row.try_get(3)?,
        expires_us: row.try_get(4)?,
        event_type: row.try_get(5)?,
        event: bytes(row, 6)?,
    })
}
