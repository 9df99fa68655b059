//! Between our messages and AMQP's properties and typed headers. Pure.

use bytes::Bytes;
use flagstop_schemas::CloudEvent;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use serde_json::{Map, Value};

use crate::port::{Channel, Content, Outgoing, PublishError, RawMessage};

/// AMQP's persistent delivery mode.
const PERSISTENT: u8 = 2;
/// Longest AMQP short string, in bytes: routing keys, header names and most properties.
pub(super) const SHORT_BYTES_MAX: usize = 255;

/// The properties of an outgoing message. `message_id` is always set: confirms and returns are told apart by it.
pub(super) fn properties(message: &Outgoing, raw: &RawMessage) -> Result<BasicProperties, PublishError> {
    let mut headers = FieldTable::default();
    for (name, value) in &raw.headers {
        let name = ShortString::try_new(name.as_str())
            .map_err(|_| PublishError::Refused(format!("AMQP header names have at most {SHORT_BYTES_MAX} bytes")))?;
        headers.insert(name, AMQPValue::LongString(LongString::from(value.to_vec())));
    }
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    if let Some(media_type) = raw.content_type.as_deref().and_then(short) {
        properties = properties.with_content_type(media_type);
    }
    let id = match &message.content {
        Content::Event(event) => {
            properties = described(properties, event, message.channel);
            short(&event.id)
        }
        Content::Raw(_) => None,
    };
    Ok(properties.with_message_id(id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string().into())))
}

fn described(mut properties: BasicProperties, event: &CloudEvent, channel: Channel) -> BasicProperties {
    if let Some(ty) = short(&event.ty) {
        properties = properties.with_type(ty);
    }
    let time = event.time.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    if let Some(seconds) = time.and_then(|time| u64::try_from(time.as_second()).ok()) {
        properties = properties.with_timestamp(seconds);
    }
    // A status event's subject is its instance.
    if let (Channel::Status, Some(instance)) = (channel, event.subject.as_deref().and_then(short)) {
        properties = properties.with_correlation_id(instance);
    }
    properties
}

pub(super) fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}

/// A delivery's message; the body is not copied.
pub(super) fn message(properties: &BasicProperties, body: Vec<u8>) -> RawMessage {
    let headers = properties.headers().as_ref().map(|table| {
        let text = |(name, value): (&ShortString, &AMQPValue)| Some((name.as_str().to_owned(), header_text(value)?));
        table.inner().iter().filter_map(text).collect()
    });
    RawMessage {
        content_type: properties.content_type().as_ref().map(|media_type| media_type.as_str().to_owned()),
        headers: headers.unwrap_or_default(),
        key: None,
        body: Bytes::from(body),
    }
}

/// A typed header in its text form; AMQP's timestamps become RFC 3339, tables and arrays JSON.
fn header_text(value: &AMQPValue) -> Option<Bytes> {
    Some(match value {
        AMQPValue::Void => return None,
        AMQPValue::LongString(text) => Bytes::copy_from_slice(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Bytes::copy_from_slice(bytes.as_slice()),
        other => match json(other) {
            Value::String(text) => Bytes::from(text),
            other => Bytes::from(other.to_string()),
        },
    })
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => Value::from(*value),
        AMQPValue::ShortShortInt(value) => Value::from(*value),
        AMQPValue::ShortShortUInt(value) => Value::from(*value),
        AMQPValue::ShortInt(value) => Value::from(*value),
        AMQPValue::ShortUInt(value) => Value::from(*value),
        AMQPValue::LongInt(value) => Value::from(*value),
        AMQPValue::LongUInt(value) => Value::from(*value),
        AMQPValue::LongLongInt(value) => Value::from(*value),
        AMQPValue::Float(value) => Value::from(*value),
        AMQPValue::Double(value) => Value::from(*value),
        AMQPValue::DecimalValue(value) => Value::from(f64::from(value.value) / 10_f64.powi(i32::from(value.scale))),
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => Value::from(String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => Value::from(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds)
            .ok()
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
            .map_or_else(|| Value::from(*seconds), |time| Value::from(time.to_string())),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => {
            let entries = table.inner().iter().map(|(name, value)| (name.as_str().to_owned(), json(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        AMQPValue::Void => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_headers_come_as_text() {
        let mut inner = FieldTable::default();
        inner.insert("reason".into(), AMQPValue::LongString("rejected".into()));
        let mut table = FieldTable::default();
        for (name, value) in [
            ("a", AMQPValue::LongString(LongString::from(vec![0xff, 0]))),
            ("b", AMQPValue::Boolean(true)),
            ("c", AMQPValue::LongLongInt(-7)),
            ("d", AMQPValue::Timestamp(1_700_000_000)),
            ("e", AMQPValue::FieldTable(inner)),
            ("f", AMQPValue::Void),
        ] {
            table.insert(name.into(), value);
        }
        let raw = message(&BasicProperties::default().with_headers(table), vec![1]);
        let expected: [(&str, &[u8]); 5] = [
            ("a", &[0xff, 0]),
            ("b", b"true"),
            ("c", b"-7"),
            ("d", b"2023-11-14T22:13:20Z"),
            ("e", br#"{"reason":"rejected"}"#),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value)));
        assert_eq!(raw.headers, expected);
    }
}
