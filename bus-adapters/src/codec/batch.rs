//! The JSON batch format: a message that is a list of structured events, taken apart into as many messages.
//!
//! Each part stands for itself from then on: a bad one is refused alone. Nothing is copied.

use serde_json::value::RawValue;

use super::{CodecError, CodecLimits, essence, json};
use crate::port::RawMessage;

const MEDIA_TYPE: &str = "application/cloudevents-batch+json";
const PART_TYPE: &str = "application/cloudevents+json";
const WHAT: &str = "the batch";

pub(super) fn is_batch(media_type: &str) -> bool {
    media_type == MEDIA_TYPE
}

/// Takes a batch apart. `None`: the message is no batch, or none that could be taken apart, which [`super::decode`] refuses
/// with the reason.
#[must_use]
pub fn split(message: &RawMessage, limits: &CodecLimits) -> Option<Vec<RawMessage>> {
    let media_type = message.content_type.as_deref().map(essence)?;
    if !is_batch(&media_type) {
        return None;
    }
    read(message, limits).ok()
}

/// Why a message is no batch that can be taken apart.
pub(super) fn refusal(message: &RawMessage, limits: &CodecLimits) -> CodecError {
    let whole = || CodecError::NotCloudEvent("it is a batch of events, and one is expected here".into());
    read(message, limits).err().unwrap_or_else(whole)
}

fn read(message: &RawMessage, limits: &CodecLimits) -> Result<Vec<RawMessage>, CodecError> {
    let body = &message.body;
    if body.len() > limits.body_bytes_max {
        return Err(CodecError::TooLarge { what: WHAT.into(), bytes: body.len(), bytes_max: limits.body_bytes_max });
    }
    // The list itself is one level more than an event may have.
    let limits = CodecLimits { json_depth_max: limits.json_depth_max + 1, ..*limits };
    json::check_depth(body, WHAT, &limits)?;
    let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|why| json::not_json(WHAT, &why))?;
    if events.is_empty() {
        return Err(CodecError::NotCloudEvent("the batch holds no event".into()));
    }
    let part = |event: &&RawValue| RawMessage {
        content_type: Some(PART_TYPE.to_owned()),
        body: body.slice_ref(event.get().as_bytes()),
        ..message.clone()
    };
    Ok(events.iter().map(part).collect())
}
