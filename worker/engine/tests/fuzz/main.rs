//! Odd and hostile input by the thousand: no panic, no abort, no hang, and every promise of the limits kept.
//!
//! Each target mutates a corpus of its own by a seed that is printed. The usual run is bounded by cases;
//! `FLAGSTOP_FUZZ_SECONDS` lets each target run for that long, from a seed of its own each time. What fails is left in a file,
//! and `FLAGSTOP_FUZZ_INPUT` tries that file again.
#![allow(clippy::unwrap_used, reason = "a test may stop where it can't go on")]

mod corpus;
mod definitions;
#[path = "../engine/driver.rs"]
#[allow(dead_code, reason = "the engine's other tests use more of it")]
mod driver;
mod expressions;
mod harness;
#[path = "../../../../tests/src/mutation.rs"]
mod mutation;
#[path = "../../../../tests/src/random.rs"]
mod random;
mod stimuli;
mod text;
