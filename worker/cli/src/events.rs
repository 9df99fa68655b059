//! Events as the command line makes, reads and sends them.

use std::collections::BTreeMap;

use bytes::Bytes;
use flagstop_bus::CodecLimits;
use flagstop_bus::port::{Channel, Content, Outgoing, RawMessage};
use flagstop_schemas::{CloudEvent, Data};
use uuid::Uuid;

use crate::demo::script;

/// The media type of a structured event.
const STRUCTURED: &str = "application/cloudevents+json";

/// A new event; without an id it gets a random one.
pub fn new(ty: &str, source: &str, id: Option<String>, subject: Option<String>, data: Data) -> CloudEvent {
    CloudEvent {
        id: id.unwrap_or_else(|| Uuid::new_v4().to_string()),
        source: source.to_owned(),
        ty: ty.to_owned(),
        subject,
        time: Some(crate::time::now()),
        datacontenttype: matches!(data, Data::Json(_)).then(|| "application/json".to_owned()),
        dataschema: None,
        extensions: BTreeMap::new(),
        data,
    }
}

/// The event that a demonstration's step publishes.
pub fn from_demo(event: &script::Event) -> CloudEvent {
    let data = event.data.as_ref().map_or(Data::Absent, |data| Data::Json(Bytes::from(data.to_string())));
    new(&event.ty, &event.source, None, event.subject.clone(), data)
}

/// Bytes as text; else the line on which they cease to be one.
pub fn utf8(bytes: Vec<u8>) -> Result<String, usize> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        valid.iter().filter(|byte| **byte == b'\n').count() + 1
    })
}

/// Reads a structured event from one line of JSON.
pub fn from_line(line: &str) -> Result<CloudEvent, String> {
    let message = RawMessage {
        content_type: Some(STRUCTURED.to_owned()),
        body: Bytes::copy_from_slice(line.as_bytes()),
        ..RawMessage::default()
    };
    flagstop_bus::decode(&message, &CodecLimits::default()).map_err(|error| error.to_string())
}

/// The event on its way to a channel. What shares a partition key or a subject keeps its order.
pub fn outgoing(event: CloudEvent, channel: Channel) -> Outgoing {
    let key = event.extensions.get("partitionkey").and_then(|v| v.as_str()).or(event.subject.as_deref());
    Outgoing {
        channel,
        routing_key: event.ty.clone(),
        order_key: key.unwrap_or(&event.id).to_owned(),
        content: Content::Event(Box::new(event)),
    }
}
