//! The statement that commits a batch: one data-modifying CTE, so one round trip, one transaction and one snapshot.
//!
//! ```text
//! duplicates in the inbox ──┐
//! lock instances by id ─────┤
//! lock claims, mail, fences,│
//! schedules ────────────────┴→ lost: why a group can't go ─→ go: the groups that lost nothing ─→ all the writing
//! ```
//! It must stay one statement in autocommit: a transaction that got its id before it read a revision would break the order
//! of the journal (PROTOCOL D14).
//!
//! Batches must not block one another in a circle. So instances are locked first and in order of their ids, then claims
//! with what else is parked of their messages, mail, fences and schedules; and whatever goes into a unique index goes in the order of its key. Between the writing parts Postgres
//! chooses the order, the same for every batch. Instances that are set aside or released come last, so nobody waits for one of
//! these: who finds it locked has lost.

use super::connections::Statement;
use super::rows::{Columns, Sheet};

/// The parameters' numbers follow the order of the binds in [`statement`].
const COMMIT: &str = "
with clock as materialized (select now_us() as now_us)
, w as materialized (
  select * from unnest($2::int4[], $3::uuid[], $4::int4[], $5::int4[], $6::int2[], $7::int2[], $8::bool[], $9::uuid[],
                       $10::int8[], $11::text[], $12::bytea[], $13::bytea[], $104::text[])
    as w(ord, id, revision, definition, status, shard, ended, parent, parent_slot, business_key, state, events, error))
, msg as materialized (select * from unnest($14::int4[], $15::uuid[]) as x(ord, key))
, claim as materialized (select * from unnest($16::int4[], $17::uuid[]) as x(ord, id))
, letter as materialized (select * from unnest($18::int4[], $19::int8[]) as x(ord, id))
, fence as materialized (
  select * from unnest($20::int4[], $21::uuid[], $22::int8[], $23::int4[]) as x(ord, instance, slot, epoch))
, plan as materialized (
  select * from unnest($80::int4[], $81::uuid[], $82::int8[], $83::int8[], $84::int2[], $85::bool[], $86::int4[],
                       $87::int8[], $88::uuid[], $89::bytea[])
    as x(ord, id, was, becomes, shard, stays, definition, due_us, awaits, state))

, active as materialized (
  select * from unnest($94::int4[], $95::uuid[], $96::uuid[], $97::bool[]) as x(ord, key, instance, live))
, aside as materialized (select * from unnest($105::int4[], $106::uuid[], $107::text[]) as x(ord, id, reason))

, dup as materialized (
  select ord, key from msg where key in (select key from inbox where key = any(array(select key from msg))))
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
  where (select count(*) from drained) >= 0 and e.epoch = fence.epoch and e.owner = $24::uuid
  order by fence.instance, fence.slot for update of e)

, planned as materialized (
  select plan.ord, plan.id from plan join schedules s on s.id = plan.id
  where (select count(*) from held) >= 0 and s.token = plan.was order by plan.id for no key update of s)
, shelved as materialized (
  select aside.ord, aside.id from aside join instances i on i.id = aside.id
  where (select count(*) from planned) >= 0 and (i.aside is not null or aside.reason is not null)
  order by aside.id for no key update of i skip locked)

, lost as materialized (
  select ord, 0 as why, key as id, null::int8 as slot, null::int4 as epoch from dup
  union all select ord, 1, id, null, null from (select * from claim except select ord, id from claimed) c
  union all select ord, 1, null, id, null from (select * from letter except select * from drained) m
  union all select ord, 2, instance, slot, epoch from (select * from fence except select * from held) f
  union all select ord, 3, id, null, null from (
    select ord, id from w where revision > 0 except select * from locked) c
  union all select w.ord, 3, w.id, null, null from w join instances i on i.id = w.id where w.revision = 0
  union all select ord, 3, id, null, null from (
    select ord, id from plan where was is not null except select * from planned) s
  union all select plan.ord, 3, plan.id, null, null from plan join schedules s on s.id = plan.id where plan.was is null
  union all select ord, 3, id, null, null from (
    select ord, id from aside where id not in (select id from w where revision = 0) except select * from shelved) c
  union all select active.ord, 4, a.instance, null, null from active
    cross join lateral (select instance from activations where key = active.key offset 0) a
    where active.live and a.instance <> active.instance)
, go as materialized (
  select ord from generate_series(0, $1::int4 - 1) g(ord) where ord not in (select ord from lost))

, inbox_in as (
  insert into inbox (key, day)
  select msg.key, near.day from msg cross join (
    select distinct day_of(now_us + shift) as day from clock cross join unnest(array[-$98::int8, 0, $98::int8]) shift) near
  where msg.ord in (select ord from go) order by 1, 2)
, activations_out as (
  delete from activations a using active x
  where a.key = x.key and a.instance = x.instance and not x.live and x.ord in (select ord from go))
, activations_in as (
  insert into activations (key, instance)
  select key, instance from active
  where live and ord in (select ord from go) and not exists (select from activations a where a.key = active.key)
  order by key)
, instances_on as (
  update instances i set revision = w.revision + 1, definition = w.definition, status = w.status, state = w.state, error = w.error,
    business_key = coalesce(i.business_key, w.business_key), updated_us = (select now_us from clock),
    ended_us = case when w.ended then coalesce(i.ended_us, (select now_us from clock)) end
  from w where i.id = w.id and i.revision = w.revision and w.revision > 0 and w.ord in (select ord from go))
, instances_in as (
  insert into instances (
    id, created_us, updated_us, ended_us, definition, revision, status, parent, parent_slot, business_key, state, error,
    aside)
  select id, now_us, now_us, case when ended then now_us end, definition, 1, status, parent, parent_slot, business_key,
    state, error, (select reason from aside where aside.id = w.id)
  from w cross join clock where revision = 0 and ord in (select ord from go) order by id)
, instances_aside as (
  update instances i set aside = aside.reason from aside
  where i.id = aside.id and aside.ord in (select ord from go) and aside.id in (select id from shelved))
, suspects_out as (
  delete from suspects s using aside where s.id = aside.id and aside.ord in (select ord from go))
, values_out as (
  delete from large_values v using unnest($77::int4[], $78::uuid[], $79::uuid[]) as x(ord, instance, hash)
  where v.instance = x.instance and v.hash = x.hash and x.ord in (select ord from go))
, values_in as (
  insert into large_values (instance, hash, value)
  select instance, hash, value
  from unnest($73::int4[], $74::uuid[], $75::uuid[], $76::bytea[]) as x(ord, instance, hash, value)
  where ord in (select ord from go) order by instance, hash
  on conflict (instance, hash) do nothing)
, schedules_out as (
  delete from schedules s using plan p
  where s.id = p.id and not p.stays and p.was is not null and p.ord in (select ord from go))
, schedules_on as (
  update schedules s set token = p.becomes, definition = p.definition, due_us = p.due_us, awaits = p.awaits,
    state = p.state
  from plan p where s.id = p.id and p.stays and p.was is not null and p.ord in (select ord from go))
, schedules_in as (
  insert into schedules (id, token, shard, definition, due_us, awaits, state)
  select id, becomes, shard, definition, due_us, awaits, state from plan
  where was is null and stays and ord in (select ord from go) order by id)
, bookmarks_out as (
  delete from bookmarks b using unnest($25::int4[], $26::uuid[], $27::uuid[], $28::int8[]) as x(ord, key, instance, slot)
  where b.key = x.key and b.instance = x.instance and b.slot = x.slot and x.ord in (select ord from go))
, bookmarks_in as (
  insert into bookmarks (key, instance, slot, since_us)
  select key, instance, slot, since_us
  from unnest($29::int4[], $30::uuid[], $31::uuid[], $32::int8[], $33::int8[]) as x(ord, key, instance, slot, since_us)
  where ord in (select ord from go))
, timers_out as (
  delete from timers t using unnest($34::int4[], $35::int2[], $36::int8[], $37::uuid[], $38::int8[])
    as x(ord, shard, due_us, instance, slot)
  where t.shard = x.shard and t.due_us = x.due_us and t.instance = x.instance and t.slot = x.slot
    and x.ord in (select ord from go))
, timers_in as (
  insert into timers (shard, due_us, instance, slot)
  select shard, due_us, instance, slot
  from unnest($39::int4[], $40::int2[], $41::int8[], $42::uuid[], $43::int8[]) as x(ord, shard, due_us, instance, slot)
  where ord in (select ord from go))
, effects_out as (
  delete from effects e using unnest($44::int4[], $45::uuid[], $46::int8[]) as x(ord, instance, slot)
  where e.instance = x.instance and e.slot = x.slot and x.ord in (select ord from go))
, effects_in as (
  insert into effects (instance, slot, owner, epoch, pointer)
  select instance, slot, $24::uuid, 1, pointer
  from unnest($47::int4[], $48::uuid[], $49::int8[], $50::text[]) as x(ord, instance, slot, pointer)
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
  select (select now_us from clock) * case when $24::uuid is null then -1 else 1 end, instance, definition, shard, stimulus
  from unnest($51::int4[], $52::uuid[], $53::int4[], $54::int2[], $55::bytea[]) with ordinality
    as x(ord, instance, definition, shard, stimulus, place)
  where ord in (select ord from go) order by place)
, parked_in as (
  insert into parked (id, key, message, matched, at_us, expires_us, event_type, event)
  select id, key, message, matched, (select now_us from clock), expires_us, event_type, event
  from unnest($56::int4[], $57::uuid[], $58::uuid[], $59::uuid[], $60::bool[], $61::int8[], $62::text[], $63::bytea[])
    as x(ord, id, key, message, matched, expires_us, event_type, event)
  where ord in (select ord from go) order by id
  on conflict (id) do nothing)
, dead_in as (
  insert into dead_letters (id, at_us, code, reason, origin, content_type, headers, body)
  select distinct on (id) id, (select now_us from clock), code, reason, origin, content_type, headers, body
  from unnest($64::int4[], $65::uuid[], $66::text[], $67::text[], $68::text[], $69::text[], $70::bytea[], $71::bytea[])
    as x(ord, id, code, reason, origin, content_type, headers, body)
  where ord in (select ord from go) order by id
  on conflict (id) do update set redriven_us = null, at_us = excluded.at_us where dead_letters.redriven_us is not null
  returning id)
, journal_in as (
  insert into journal (day, at_us, instance, revision, definition, shard, events)
  select day_of((select now_us from clock)), (select now_us from clock), j.* from (
    select id, revision + 1 as revision, definition, shard, events from w where ord in (select ord from go)
    union all
    select id, 0, 0, (get_byte(uuid_send(id), 0) & ($72::int4 - 1))::int2, ''::bytea from dead_in
    union all
    select id, 0, 0, shard, events
    from unnest($90::int4[], $91::uuid[], $92::int2[], $93::bytea[]) as x(ord, id, shard, events)
    where ord in (select ord from go)
    union all
    select instance, -2, definition, shard, events
    from unnest($99::int4[], $100::uuid[], $101::int4[], $102::int2[], $103::bytea[])
      as x(ord, instance, definition, shard, events)
    where ord in (select ord from go)
  ) j order by id, revision)
select ord, why, id, slot, epoch from lost order by ord, why";

/// The statement for the groups of a sheet. Within `overlap_us` of midnight a message is written to both days.
pub(super) fn statement(sheet: Sheet, overlap_us: i64) -> Statement {
    let statement = sqlx::query(COMMIT).bind(sheet.groups);
    let Sheet { writes, messages, claims, mail, fences, worker, .. } = sheet;
    let statement = fences.bind(mail.bind(claims.bind(messages.bind(writes.bind(statement))))).bind(worker);
    let statement = sheet.bookmarks_in.bind(sheet.bookmarks_out.bind(statement));
    let statement = sheet.timers_in.bind(sheet.timers_out.bind(statement));
    let statement = sheet.effects_in.bind(sheet.effects_out.bind(statement));
    let statement = sheet.letters.bind(sheet.parked.bind(sheet.post.bind(statement)));
    let statement = statement.bind(i32::from(crate::rows::SHARDS));
    let statement = sheet.schedules.bind(sheet.values_out.bind(sheet.values_in.bind(statement)));
    let statement = sheet.activations.bind(sheet.notes.bind(statement)).bind(overlap_us);
    sheet.asides.bind(sheet.remarks.bind(statement).bind(sheet.errors))
}
