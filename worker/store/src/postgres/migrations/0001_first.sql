-- Ids and hashes are uuids, times are microseconds since 1970 UTC on this database's clock. The schema is the only one on
-- the search path.

create table meta (name text primary key, value bigint not null);
insert into meta values ('oldest_build', 1), ('catalogue', 0);

create table definitions (
  number    integer generated always as identity primary key,
  namespace text  not null,
  name      text  not null,
  version   text  not null,
  content   uuid  not null,
  source    bytea not null,
  unique (namespace, name, version)
);

-- Updated in place (HOT): so no index on a column that changes, and room in each page for the next version.
create table instances (
  id           uuid     primary key,
  created_us   bigint   not null,
  updated_us   bigint   not null,
  ended_us     bigint,
  definition   integer  not null,
  revision     integer  not null,
  status       smallint not null,
  parent       uuid,
  business_key text,
  state        bytea    not null
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
alter table instances alter column state set storage external;
create index instances_newest on instances (created_us desc, id);

create table inbox (key uuid primary key, at_us bigint not null);

-- Rows come and go, and none changes: one index each, and vacuum comes early.
create table bookmarks (
  key      uuid   not null,
  instance uuid   not null,
  slot     bigint not null,
  since_us bigint
) with (autovacuum_vacuum_scale_factor = 0.05);
create index bookmarks_key on bookmarks (key);

create table timers (
  due_us   bigint   not null,
  slot     bigint   not null,
  instance uuid     not null,
  shard    smallint not null
) with (autovacuum_vacuum_scale_factor = 0.05);
create index timers_due on timers (shard, due_us, instance, slot);

create table effects (
  instance uuid    not null,
  slot     bigint  not null,
  owner    uuid,
  epoch    integer not null,
  pointer  text    not null,
  primary key (instance, slot)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- To find a worker's, nobody's, and, one step per owner, those of the dead.
create index effects_owner on effects (owner, instance, slot);

create table mail (
  id         bigint   generated always as identity primary key,
  at_us      bigint   not null,
  instance   uuid     not null,
  definition integer  not null,
  shard      smallint not null,
  stimulus   bytea    not null
) with (autovacuum_vacuum_scale_factor = 0.05);
create index mail_instance on mail (instance, id);

create table parked (
  id         uuid   primary key,
  key        uuid   not null,
  message    uuid   not null,
  matched    bool   not null,
  at_us      bigint not null,
  expires_us bigint not null,
  event_type text   not null,
  event      bytea  not null
) with (autovacuum_vacuum_scale_factor = 0.05);
create index parked_key on parked (key, at_us, id);
create index parked_message on parked (message);
create index parked_expires on parked (expires_us);

-- Append-only: outbox, history and audit. The transaction's id orders it for the relay, whose cursor knows which
-- transactions were still open (PROTOCOL D14).
create table journal (
  seq        bigint   generated always as identity,
  xid        xid8     not null default pg_current_xact_id(),
  at_us      bigint   not null,
  instance   uuid     not null,
  revision   integer  not null,
  definition integer  not null,
  shard      smallint not null,
  events     bytea    not null
);
create index journal_relay on journal (shard, xid, seq);
create unique index journal_once on journal (instance, revision) where revision > 0;

create table dead_letters (
  id           uuid   primary key,
  at_us        bigint not null,
  code         text   not null,
  reason       text   not null,
  origin       text   not null,
  content_type text,
  headers      bytea  not null,
  body         bytea  not null
);
create index dead_letters_newest on dead_letters (at_us desc, id);

create table workers (id uuid primary key, until_us bigint not null) with (fillfactor = 50);

-- Which cluster this is; 0 where the function may not be called.
create function cluster_id() returns bigint language plpgsql stable as $$
begin
  return (select system_identifier from pg_control_system());
exception when insufficient_privilege or undefined_function then
  return 0;
end $$;

-- Who holds which shard, and where its relay stands: everything below `next_xid` is read but what is `pending`. Transaction
-- ids mean something only in the cluster that gave them.
create table relay_cursor (
  shard    smallint primary key,
  cluster  bigint   not null,
  owner    uuid,
  epoch    integer not null default 0,
  next_xid xid8    not null,
  pending  xid8[]  not null default '{}'
) with (fillfactor = 50);
insert into relay_cursor (shard, cluster, next_xid)
select shard, cluster_id(), pg_snapshot_xmin(pg_current_snapshot()) from generate_series(0, 63) shard;

-- Streams that are set aside (PROTOCOL D13): the relay leaves out their rows from `revision` on.
create table quarantine (
  instance uuid    primary key,
  revision integer not null,
  at_us    bigint  not null,
  reason   text    not null
);
