-- What the whole language needs. Builds before this one know nothing of parents that await their children's end, and would
-- let them wait for ever: none of them may run any more.
update meta set value = 2 where name = 'oldest_build';

-- What a definition refers to outside of itself, as it was when it was deployed (PROTOCOL D6).
alter table definitions
  add column bundle bytea  not null default '',
  add column at_us  bigint not null default 0;

-- Where the parent awaits the child's end.
alter table instances add column parent_slot bigint;

-- Large values are written once, however often the snapshots that refer to them are (PROTOCOL D19).
create table large_values (
  instance uuid  not null,
  hash     uuid  not null,
  value    bytea not null,
  primary key (instance, hash)
) with (autovacuum_vacuum_scale_factor = 0.05);
alter table large_values alter column value set storage external;

-- When a workflow is due next, and the open sets of events that are to start one (PROTOCOL D12, D17).
create table schedules (
  id         uuid     primary key,
  token      bigint   not null,
  shard      smallint not null,
  definition integer  not null,
  due_us     bigint,
  awaits     uuid,
  state      bytea    not null
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
create index schedules_due on schedules (shard, due_us, id) where due_us is not null;
create index schedules_awaits on schedules (shard, id) where awaits is not null;
