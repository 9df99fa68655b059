//! What is served over HTTP (events, health, metrics), and the client that asks for it.

pub mod api;
pub mod client;
pub mod health;
mod problem;
pub mod server;
