-- What people page through: early events, the newest first. An operator may have built it before, without holding anybody up
-- (docs/operations.md).
create index if not exists parked_newest on parked (at_us desc, id);
