//! The engine: a definition becomes a plan, and `apply` takes an instance from one state to the next.
//!
//! Pure: no I/O, no async, no clock and no randomness of its own. What must happen outside comes out as data.

pub mod api;

// Foundations
mod diagnostic;
mod limits;
mod pointer;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, Span};
pub use limits::Limits;

// Plan and machine
mod stub;

pub use stub::{Event, EventError, Filter, Instance, Plan, Problem, SnapshotError, apply};
