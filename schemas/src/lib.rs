//! The contract with other services: CloudEvents, the status events' JSON Schemas and their validators.
//!
//! Every other crate may depend on this one; it depends on none of them.

mod answer;
mod event;
mod files;
mod ids;
pub mod journal;
mod kind;
mod render;
mod status;
mod validate;

pub use answer::{Answer, Asked, COMMAND_PREFIX};
pub use event::{AttributeError, CloudEvent, Data};
pub use files::{cli_schema, schema_files};
pub use ids::{Hash16, InstanceId, message_key};
pub use kind::Scope;
pub use render::{Renderer, render, routing_key};
pub use status::{Entry, Header, JsonText, LateResult, STATUS, StatusEvent, StatusKind};
pub use validate::{Validators, Violation};
