-- What people page through: dead letters, the newest first. Early events are listed in the order of their rows.
CREATE INDEX dead_letters_newest ON dead_letters (at_us);
