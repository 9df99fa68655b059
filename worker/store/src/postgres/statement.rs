//! The statement that commits a batch: one data-modifying CTE, so one round trip, one transaction and one snapshot.
//!
//! ```text
//! duplicates in the inbox ──┐
//! lock instances by id ─────┤
//! lock claims, mail, fences ┴→ lost: why a group can't go ─→ go: the groups that lost nothing ─→ all the writing
//! ```
//! It must stay one statement in autocommit: a transaction that got its id before it read a revision would break the order
//! of the journal (PROTOCOL D14).
//!
//! Batches must not block one another in a circle. So instances are locked first and in order of their ids, then claims
//! with what else is parked of their messages, mail and fences; and whatever goes into a unique index goes in the order of its key. Between the writing parts Postgres
//! chooses the order, the same for every batch.

use super::connections::Statement;
use super::rows::{Columns, Sheet};

/// The parameters' numbers follow the order of the binds in [`statement`].
const COMMIT: &str = "
with clock as materialized (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us)
, w as materialized (
  select * from unnest($2::int4[], $3::uuid[], $4::int4[], $5::int4[], $6::int2[], $7::int2[], $8::bool[], $9::uuid[],
                       $10::text[], $11::bytea[], $12::bytea[])
    as w(ord, id, revision, definition, status, shard, ended, parent, business_key, state, events))
, msg as materialized (select * from unnest($13::int4[], $14::uuid[]) as x(ord, key))
, claim as materialized (select * from unnest($15::int4[], $16::uuid[]) as x(ord, id))
, letter as materialized (select * from unnest($17::int4[], $18::int8[]) as x(ord, id))
, fence as materialized (
  select * from unnest($19::int4[], $20::uuid[], $21::int8[], $22::int4[]) as x(ord, instance, slot, epoch))

, dup as materialized (select msg.ord, msg.key from msg join inbox i on i.key = msg.key)
, locked as materialized (
  select w.ord, w.id from w join instances i on i.id = w.id
  where w.revision > 0 and i.revision = w.revision and w.ord not in (select ord from dup)
  order by w.id for no key update of i)
, heard as materialized (
  select distinct x.message from claim cross join lateral (select message from parked where id = claim.id offset 0) x)
, kin as materialized (
  select p.id, p.message from parked p where p.message = any(array(select message from heard))
    and (select count(*) from locked) >= 0 order by p.id for update of p)
, claimed as materialized (
  select claim.ord, claim.id, kin.message from claim join kin on kin.id = claim.id)
, drained as materialized (
  select letter.ord, letter.id from letter join mail m on m.id = letter.id
  where (select count(*) from claimed) >= 0 order by letter.id for update of m)
, held as materialized (
  select fence.* from fence join effects e on e.instance = fence.instance and e.slot = fence.slot
  where (select count(*) from drained) >= 0 and e.epoch = fence.epoch and e.owner = $23::uuid
  order by fence.instance, fence.slot for update of e)

, lost as materialized (
  select ord, 0 as why, key as id, null::int8 as slot, null::int4 as epoch from dup
  union all select ord, 1, id, null, null from (select * from claim except select ord, id from claimed) c
  union all select ord, 1, null, id, null from (select * from letter except select * from drained) m
  union all select ord, 2, instance, slot, epoch from (select * from fence except select * from held) f
  union all select ord, 3, id, null, null from (
    select ord, id from w where revision > 0 except select * from locked) c
  union all select w.ord, 3, w.id, null, null from w join instances i on i.id = w.id where w.revision = 0)
, go as materialized (
  select ord from generate_series(0, $1::int4 - 1) g(ord) where ord not in (select ord from lost))

, inbox_in as (
  insert into inbox (key, at_us)
  select key, (select now_us from clock) from msg where ord in (select ord from go) order by key)
, instances_on as (
  update instances i set revision = w.revision + 1, definition = w.definition, status = w.status, state = w.state,
    updated_us = (select now_us from clock),
    ended_us = case when w.ended then coalesce(i.ended_us, (select now_us from clock)) end
  from w where i.id = w.id and i.revision = w.revision and w.revision > 0 and w.ord in (select ord from go))
, instances_in as (
  insert into instances (id, created_us, updated_us, ended_us, definition, revision, status, parent, business_key, state)
  select id, now_us, now_us, case when ended then now_us end, definition, 1, status, parent, business_key, state
  from w cross join clock where revision = 0 and ord in (select ord from go) order by id)
, bookmarks_out as (
  delete from bookmarks b using unnest($24::int4[], $25::uuid[], $26::uuid[], $27::int8[]) as x(ord, key, instance, slot)
  where b.key = x.key and b.instance = x.instance and b.slot = x.slot and x.ord in (select ord from go))
, bookmarks_in as (
  insert into bookmarks (key, instance, slot, since_us)
  select key, instance, slot, since_us
  from unnest($28::int4[], $29::uuid[], $30::uuid[], $31::int8[], $32::int8[]) as x(ord, key, instance, slot, since_us)
  where ord in (select ord from go))
, timers_out as (
  delete from timers t using unnest($33::int4[], $34::int2[], $35::int8[], $36::uuid[], $37::int8[])
    as x(ord, shard, due_us, instance, slot)
  where t.shard = x.shard and t.due_us = x.due_us and t.instance = x.instance and t.slot = x.slot
    and x.ord in (select ord from go))
, timers_in as (
  insert into timers (shard, due_us, instance, slot)
  select shard, due_us, instance, slot
  from unnest($38::int4[], $39::int2[], $40::int8[], $41::uuid[], $42::int8[]) as x(ord, shard, due_us, instance, slot)
  where ord in (select ord from go))
, effects_out as (
  delete from effects e using unnest($43::int4[], $44::uuid[], $45::int8[]) as x(ord, instance, slot)
  where e.instance = x.instance and e.slot = x.slot and x.ord in (select ord from go))
, effects_in as (
  insert into effects (instance, slot, owner, epoch, pointer)
  select instance, slot, $23::uuid, 1, pointer
  from unnest($46::int4[], $47::uuid[], $48::int8[], $49::text[]) as x(ord, instance, slot, pointer)
  where ord in (select ord from go) order by instance, slot
  on conflict (instance, slot) do update set owner = excluded.owner, epoch = 1, pointer = excluded.pointer)
, parked_out as (
  delete from parked p using claimed c where p.id = c.id and c.ord in (select ord from go))
, parked_kin as (
  update parked p set matched = true from kin
  where p.id = kin.id and not p.matched
    and kin.message in (select c.message from claimed c join w on w.ord = c.ord where c.ord in (select ord from go))
    and kin.id not in (select id from claimed where ord in (select ord from go)))
, mail_out as (
  delete from mail m using drained d where m.id = d.id and d.ord in (select ord from go))
, mail_in as (
  insert into mail (at_us, instance, definition, shard, stimulus)
  select (select now_us from clock), instance, definition, shard, stimulus
  from unnest($50::int4[], $51::uuid[], $52::int4[], $53::int2[], $54::bytea[]) with ordinality
    as x(ord, instance, definition, shard, stimulus, place)
  where ord in (select ord from go) order by place)
, parked_in as (
  insert into parked (id, key, message, matched, at_us, expires_us, event_type, event)
  select id, key, message, matched, (select now_us from clock), expires_us, event_type, event
  from unnest($55::int4[], $56::uuid[], $57::uuid[], $58::uuid[], $59::bool[], $60::int8[], $61::text[], $62::bytea[])
    as x(ord, id, key, message, matched, expires_us, event_type, event)
  where ord in (select ord from go) order by id
  on conflict (id) do nothing)
, dead_in as (
  insert into dead_letters (id, at_us, code, reason, origin, content_type, headers, body)
  select id, (select now_us from clock), code, reason, origin, content_type, headers, body
  from unnest($63::int4[], $64::uuid[], $65::text[], $66::text[], $67::text[], $68::text[], $69::bytea[], $70::bytea[])
    as x(ord, id, code, reason, origin, content_type, headers, body)
  where ord in (select ord from go) order by id
  on conflict (id) do nothing
  returning id)
, journal_in as (
  insert into journal (at_us, instance, revision, definition, shard, events)
  select (select now_us from clock), j.* from (
    select id, revision + 1 as revision, definition, shard, events from w where ord in (select ord from go)
    union all
    select id, 0, 0, (get_byte(uuid_send(id), 0) & ($71::int4 - 1))::int2, ''::bytea from dead_in
  ) j order by id, revision)
select ord, why, id, slot, epoch from lost order by ord, why";

/// The statement for the groups of a sheet.
pub(super) fn statement(sheet: Sheet) -> Statement {
    let statement = sqlx::query(COMMIT).bind(sheet.groups);
    let Sheet { writes, messages, claims, mail, fences, worker, .. } = sheet;
    let statement = fences.bind(mail.bind(claims.bind(messages.bind(writes.bind(statement))))).bind(worker);
    let statement = sheet.bookmarks_in.bind(sheet.bookmarks_out.bind(statement));
    let statement = sheet.timers_in.bind(sheet.timers_out.bind(statement));
    let statement = sheet.effects_in.bind(sheet.effects_out.bind(statement));
    let statement = sheet.letters.bind(sheet.parked.bind(sheet.post.bind(statement)));
    statement.bind(i32::from(crate::rows::SHARDS))
}
