//! Flagstop in one thread, without store and bus: the definitions, instances, events and timers of one `flagstop run` or of
//! one case of `flagstop test`.
//!
//! [`World`] performs no I/O and reads no clock: its driver tells it the time and what came back from outside.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop where it can't go on"))]

pub mod kit;
mod world;

pub use world::{Command, Keep, Kill, Options, Output, Scheduling, World};
