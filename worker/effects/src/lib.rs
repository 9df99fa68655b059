//! Carries out what the engine asks of the outside: HTTP requests with their authentication, and programs.
//!
//! It decides nothing about workflows and stores nothing; what dies with the process is asked for again.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop where it can't go on"))]

pub mod http;
pub mod process;
pub mod resources;
