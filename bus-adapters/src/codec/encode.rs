//! Binary mode out: attributes become headers, the data is the body as it is.

use bytes::Bytes;
use flagstop_schemas::{CloudEvent, Data};
use serde_json::Value;

use crate::port::RawMessage;

/// For AMQP: headers `cloudEvents_*`; the media type goes into the property `content_type`.
#[must_use]
pub fn encode_amqp(event: &CloudEvent) -> RawMessage {
    encode(event, "cloudEvents_")
}

/// For Kafka: headers `ce_*`; the media type goes into the header `content-type`.
#[must_use]
pub fn encode_kafka(event: &CloudEvent) -> RawMessage {
    encode(event, "ce_")
}

fn encode(event: &CloudEvent, prefix: &str) -> RawMessage {
    let core = [
        ("specversion", Some("1.0")),
        ("id", Some(event.id.as_str())),
        ("source", Some(event.source.as_str())),
        ("type", Some(event.ty.as_str())),
        ("subject", event.subject.as_deref()),
        ("time", event.time.as_deref()),
        ("dataschema", event.dataschema.as_deref()),
    ];
    let mut headers = Vec::with_capacity(core.len() + event.extensions.len());
    for (name, value) in core {
        if let Some(value) = value {
            headers.push((format!("{prefix}{name}"), Bytes::copy_from_slice(value.as_bytes())));
        }
    }
    for (name, value) in &event.extensions {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => Bytes::copy_from_slice(text.as_bytes()),
            other => Bytes::from(other.to_string()),
        };
        headers.push((format!("{prefix}{name}"), text));
    }
    let (content_type, body) = match &event.data {
        Data::Absent => (event.datacontenttype.clone(), Bytes::new()),
        Data::Json(text) => {
            let media_type = event.datacontenttype.clone().unwrap_or_else(|| "application/json".into());
            (Some(media_type), text.clone())
        }
        Data::Binary(bytes) => (event.datacontenttype.clone(), bytes.clone()),
    };
    RawMessage { content_type, headers, key: None, body }
}
