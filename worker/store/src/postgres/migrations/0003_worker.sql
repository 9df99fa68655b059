-- What many workers need for years: old rows go by dropping partitions, a worker needs no right to make tables, and what
-- kills workers is known. Builds before this one write to the old inbox: none of them may run any more.
update meta set value = 3 where name = 'oldest_build';

-- The clock of commits. One function, so that everything that is dated by a commit is dated by the same clock.
create function now_us() returns bigint language sql volatile as
  $$ select (extract(epoch from clock_timestamp()) * 1000000)::bigint $$;

-- A day's number, counted from 1970 UTC: which partition a row belongs to.
create function day_of(at_us bigint) returns integer language sql immutable as
  $$ select (at_us / 86400000000)::integer $$;

-- Messages that were consumed, a partition for each day. Near midnight each key stands in two of them (PROTOCOL D2), so that
-- two transactions on both sides of midnight can't both insert it.
alter table inbox rename to inbox_before;
alter index inbox_pkey rename to inbox_before_pkey;
create table inbox (key uuid not null, day integer not null, primary key (key, day)) partition by list (day);

-- The outbox, history and audit, a partition for each day. The order of an instance's revisions is kept by comparing and
-- setting them; the unique index is the second lock on the same door.
alter table journal rename to journal_before;
alter index journal_relay rename to journal_before_relay;
alter index journal_once rename to journal_before_once;
create sequence journal_number;
create table journal (
  seq        bigint   not null default nextval('journal_number'),
  xid        xid8     not null default pg_current_xact_id(),
  day        integer  not null default day_of(now_us()),
  at_us      bigint   not null,
  instance   uuid     not null,
  revision   integer  not null,
  definition integer  not null,
  shard      smallint not null,
  events     bytea    not null
) partition by list (day);
create index journal_relay on journal (shard, xid, seq);
create unique index journal_once on journal (instance, revision, day) where revision > 0;
-- Remarks in histories are rare.
create index journal_remarks on journal (instance) where revision = -2;

-- No row that a shard's relay has still to read is of an earlier day: older partitions are not looked into. A day of slack
-- stands for clocks that are set back.
alter table relay_cursor add column day integer not null default 0;

-- Makes what is missing of these days' partitions. Attaching locks nobody out who reads or writes.
create function make_partitions(first_day integer, last_day integer) returns void language plpgsql security definer as $$
declare
  parent text;
  part   text;
begin
  -- One at a time: whoever waited finds them made.
  perform pg_advisory_xact_lock(hashtext('flagstop partitions'), hashtext(current_schema()));
  foreach parent in array array['inbox', 'journal'] loop
    for day in first_day .. last_day loop
      part := parent || '_' || day;
      if to_regclass(part) is null then
        execute format('create table %I (like %I including all)', part, parent);
        execute format('alter table %I attach partition %I for values in (%s)', parent, part, day);
      end if;
    end loop;
  end loop;
end $$;

-- Drops the oldest partition that is of a day before the given one, and gives its name; null when there is none. Of the
-- journal only what every relay has read (PROTOCOL D13). Who has to wait for a lock gives up soon: writers wait behind it.
create function drop_partition(inbox_before integer, journal_before integer) returns text
language plpgsql security definer set lock_timeout = '2s' as $$
declare
  part   record;
  unread boolean;
begin
  for part in
    select p.relname as parent, c.relname as name, substring(c.relname from '_([0-9]+)$')::integer as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
    where (i.inhparent = 'inbox'::regclass and substring(c.relname from '_([0-9]+)$')::integer < inbox_before)
       or (i.inhparent = 'journal'::regclass and substring(c.relname from '_([0-9]+)$')::integer < journal_before)
    order by 3, 1
  loop
    unread := false;
    if part.parent = 'journal' then
      execute format('select exists (select 1 from relay_cursor c cross join lateral (
                        (select 1 from %1$I j where j.shard = c.shard and j.xid >= c.next_xid limit 1)
                        union all
                        (select 1 from %1$I j where j.shard = c.shard and j.xid = any(c.pending) limit 1)) x)', part.name)
        into unread;
    end if;
    if not unread then
      execute format('drop table %I', part.name);
      return part.name;
    end if;
  end loop;
  return null;
end $$;

-- Whoever calls them gets no say in what their names mean.
do $$ begin
  execute format('alter function make_partitions set search_path = %I, pg_temp', current_schema());
  execute format('alter function drop_partition set search_path = %I, pg_temp', current_schema());
end $$;
revoke all on function make_partitions, drop_partition from public;

-- Moves what is there.
do $$
declare day integer;
begin
  for day in
    select day_of(at_us) from inbox_before union select day_of(at_us) from journal_before
    union select d from generate_series(day_of(now_us()) - 1, day_of(now_us()) + 3) d
  loop
    perform make_partitions(day, day);
  end loop;
end $$;
insert into inbox (key, day) select key, day_of(at_us) from inbox_before;
insert into journal (seq, xid, day, at_us, instance, revision, definition, shard, events)
select seq, xid, day_of(at_us), at_us, instance, revision, definition, shard, events from journal_before;
select setval('journal_number', (select coalesce(max(seq), 0) + 1 from journal_before), false);
drop table inbox_before, journal_before;

-- What faulted says why, and what was set aside, too: for people's lists. Not part of any index, so that a transition stays
-- an update in place.
alter table instances add column error text, add column aside text;

-- Who is live under an activation key.
create table activations (key uuid primary key, instance uuid not null)
  with (autovacuum_vacuum_scale_factor = 0.05);

-- Messages and instances that were being tried when a worker died (PROTOCOL D8), each marked before it is tried.
create table suspects (id uuid primary key, tries integer not null, at_us bigint not null);

-- Disabled versions take no new triggers.
alter table definitions add column enabled boolean not null default true;

-- When somebody gave it to the workers again.
alter table dead_letters add column redriven_us bigint;
