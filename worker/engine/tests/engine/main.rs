//! What workflows do, told as scenarios: each runs as it is and with a crash after every transition.
#![allow(clippy::unwrap_used, reason = "a test may stop where it can't go on")]

mod authentication;
mod data_flow;
mod definitions;
mod driver;
mod errors;
mod events;
mod flow;
mod http;
mod random;
mod resources;
mod snapshots;
mod time;
