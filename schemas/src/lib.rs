//! The contract with other services: CloudEvents, the status events' JSON Schemas and their validators.
//!
//! Every other crate may depend on this one; it depends on none of them.

mod event;
mod ids;
mod status;

pub use event::{AttributeError, CloudEvent, Data};
pub use ids::{Hash16, InstanceId, message_key};
pub use status::{Entry, Header, StatusEvent, StatusKind};
