//! CloudEvents 1.0 on the wire: binary mode in all the spellings that brokers use, and structured JSON.
//!
//! `decode` takes whatever a broker carried and never panics or recurses with its input: size and depth are checked
//! before anything is parsed. The payload is never copied; JSON data stays the bytes that arrived (PROTOCOL D20).
//!
//! ```text
//! content type application/cloudevents-batch+json ──▶ taken apart, each part structured
//! content type application/cloudevents+json ──▶ structured
//! any ce_ / ce- / cloudEvents_ / cloudEvents: header ──▶ binary
//! neither ──▶ FS-EVENT-NOT-CLOUDEVENT
//! ```

mod attributes;
mod batch;
mod binary;
mod encode;
mod error;
mod json;
mod structured;

use flagstop_schemas::CloudEvent;
use serde::{Deserialize, Serialize};

pub use batch::split;
pub use encode::{encode_amqp, encode_kafka};
pub use error::CodecError;

use crate::port::RawMessage;

/// What a message may hold to be taken as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodecLimits {
    /// Largest message body, in bytes.
    pub body_bytes_max: usize,
    /// Deepest nesting of arrays and objects in JSON. `serde_json`, which reads the data again further in, refuses the
    /// 128th level; the default leaves it room for what is put around the data in a snapshot.
    pub json_depth_max: usize,
    /// Longest value of `id`, `source`, `type`, `subject`, `dataschema` and extension attributes, in bytes.
    pub attribute_bytes_max: usize,
    /// Largest number of extension attributes.
    pub extensions_max: usize,
}

impl Default for CodecLimits {
    fn default() -> Self {
        Self { body_bytes_max: 1024 * 1024, json_depth_max: 100, attribute_bytes_max: 1024, extensions_max: 64 }
    }
}

/// Reads an event.
///
/// # Errors
/// Says what is wrong with the message, where, and how to mend it; it is a dead letter then.
pub fn decode(message: &RawMessage, limits: &CodecLimits) -> Result<CloudEvent, CodecError> {
    if message.body.len() > limits.body_bytes_max {
        return Err(CodecError::TooLarge {
            what: "message body".into(),
            bytes: message.body.len(),
            bytes_max: limits.body_bytes_max,
        });
    }
    let media_type = message.content_type.as_deref().map(essence).unwrap_or_default();
    match media_type.as_str() {
        "application/cloudevents+json" | "application/cloudevents" => structured::decode(&message.body, limits),
        batch if batch::is_batch(batch) => Err(batch::refusal(message, limits)),
        other if other.starts_with("application/cloudevents") => Err(CodecError::NotCloudEvent(format!(
            "the event format `{other}` is not taken; send application/cloudevents+json or binary mode"
        ))),
        _ => binary::decode(message, limits),
    }
}

/// Reads an event that came over HTTP, where attributes are percent-encoded. On a broker they are not, whatever the prefix
/// of their headers: `ce-` is also that of the binding for RabbitMQ.
///
/// # Errors
/// As [`decode`].
pub fn decode_http(message: &RawMessage, limits: &CodecLimits) -> Result<CloudEvent, CodecError> {
    decode(&binary::without_percent_encoding(message), limits)
}

/// `true` for `application/json`, `text/json`, `application/anything+json` and the like.
fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// A media type in lower case without its parameters.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
