-- What people page through: early events, the newest first.
create index parked_newest on parked (at_us desc, id);
