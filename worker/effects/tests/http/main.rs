//! The HTTP executor: with a scripted transport and a clock that stands still, and with real servers on loopback.
#![allow(clippy::unwrap_used, reason = "a test may stop where it can't go on")]

mod real;
mod script;
mod tokens;
