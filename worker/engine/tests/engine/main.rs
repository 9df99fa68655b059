//! What workflows do, told as scenarios: each runs as it is and with a crash after every transition.

mod data_flow;
mod definitions;
mod driver;
mod errors;
mod events;
mod flow;
mod http;
mod random;
mod snapshots;
mod time;
