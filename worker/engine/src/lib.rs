//! The engine: a definition becomes a plan, and `apply` takes an instance from one state to the next.
//!
//! Pure: no I/O, no async, no clock and no randomness of its own. What must happen outside comes out as data.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop where it can't go on"))]

pub mod api;

// Foundations
pub mod diagnostic;
pub mod duration;
pub mod expr;
pub mod limits;
pub mod pointer;
pub mod problem;
pub mod reference;
pub mod resource;
pub mod schedule;
mod schema;
pub mod source;
pub mod uri_template;
pub mod value;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, Span};
pub use limits::Limits;

// Plan and machine
mod content;
mod event;
mod filter;
mod instance;
mod machine;
mod plan;
mod snapshot;
mod strategy;
mod tasks;
mod time;

pub use event::{Event, EventError};
pub use filter::Filter;
pub use instance::Instance;
pub use machine::apply;
pub use plan::checkpoint::check_policy as check_checkpoint;
pub use plan::{EventUse, OnDuplicate, Plan, Traffic};
pub use problem::Problem;
pub use resource::Bundle;
pub use snapshot::{LargeValue, Snapshot, SnapshotError};
pub use tasks::program_options;

/// A YAML or JSON text as a value: inputs, secrets and test files, within the limits of a definition.
///
/// # Errors
/// What is wrong in the text, with its place.
pub fn read_document(source: &[u8], limits: &Limits) -> Result<api::Value, Diagnostics> {
    source::read(source, limits).map(|node| value::from_node(&node))
}
