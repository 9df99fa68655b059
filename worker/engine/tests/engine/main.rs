//! What workflows do, told as scenarios: each runs as it is and with a crash after every transition.
#![allow(clippy::unwrap_used, reason = "a test may stop where it can't go on")]

mod authentication;
mod checkpoints;
mod data_flow;
mod definitions;
mod driver;
mod emit;
mod errors;
mod event_lints;
mod extensions;
mod flow;
mod forks;
mod functions;
mod holds;
mod http;
mod large;
mod lints;
mod listen_all;
mod listen_any;
mod listen_foreach;
mod listen_keys;
mod listen_one;
mod loops;
mod openapi;
mod random;
mod resources;
mod retries;
mod revivals;
mod run;
mod schedule_clock;
mod schedule_on;
mod snapshots;
mod time;
mod timeouts;
mod unrunnable;
mod work;
