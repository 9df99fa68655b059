//! Binary mode: attributes in headers, the body is the data.

use bytes::Bytes;
use flagstop_schemas::{CloudEvent, Data};
use serde_json::Value;

use super::attributes::Attributes;
use super::{CodecError, CodecLimits, is_json, json};
use crate::port::RawMessage;

/// The spellings of the attribute headers: AMQP has the first two, Kafka the third, and the binding for RabbitMQ the last,
/// like HTTP.
const PREFIXES: [&str; 4] = ["cloudEvents_", "cloudEvents:", "ce_", HTTP_PREFIX];

/// The only one that may be written in any case.
const HTTP_PREFIX: &str = "ce-";

pub(super) fn decode(message: &RawMessage, limits: &CodecLimits) -> Result<CloudEvent, CodecError> {
    let mut attributes = Attributes::default();
    let mut found = false;
    for (header, value) in &message.headers {
        let Some((name, prefix)) = attribute(header) else { continue };
        found = true;
        let Ok(text) = std::str::from_utf8(value) else {
            return Err(CodecError::attribute(name, "is not UTF-8 text"));
        };
        if prefix == HTTP_PREFIX {
            attributes.insert(&name.to_ascii_lowercase(), Value::from(text), limits)?;
        } else {
            attributes.insert(name, Value::from(text), limits)?;
        }
    }
    if !found {
        return Err(CodecError::NotCloudEvent(
            "it has neither CloudEvents headers (ce_id … on Kafka, cloudEvents_id … on AMQP: binary mode) nor the content type application/cloudevents+json (structured mode); send it in one of the two".into(),
        ));
    }
    // The transport's content type is the attribute's place in binary mode; a header by its name is only a fallback.
    if let Some(media_type) = &message.content_type {
        attributes.set_datacontenttype(media_type);
    }
    let data = data(&message.body, attributes.datacontenttype(), limits)?;
    attributes.into_event(data)
}

/// Without a media type the body is JSON if it reads as JSON: many simple producers send no content type.
fn data(body: &Bytes, media_type: Option<&str>, limits: &CodecLimits) -> Result<Data, CodecError> {
    if body.is_empty() {
        return Ok(Data::Absent);
    }
    match media_type {
        Some(media_type) if is_json(media_type) => {
            json::check(body, "the data", limits)?;
            Ok(Data::Json(body.clone()))
        }
        Some(_) => Ok(Data::Binary(body.clone())),
        None if json::check(body, "the data", limits).is_ok() => Ok(Data::Json(body.clone())),
        None => Ok(Data::Binary(body.clone())),
    }
}

fn attribute(header: &str) -> Option<(&str, &'static str)> {
    PREFIXES.iter().find_map(|prefix| {
        let (start, name) = header.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some((name, *prefix))
    })
}

/// The message with the percent-encoding of HTTP's headers undone. `%XX` that is no valid sequence stays as it is.
pub(super) fn without_percent_encoding(message: &RawMessage) -> RawMessage {
    let decoded = |(name, value): &(String, Bytes)| (name.clone(), percent_decoded(value));
    RawMessage { headers: message.headers.iter().map(decoded).collect(), ..message.clone() }
}

fn percent_decoded(text: &Bytes) -> Bytes {
    if !text.contains(&b'%') {
        return text.clone();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.filter(|two| two.bytes().all(|d| d.is_ascii_hexdigit()));
        match byte.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    if std::str::from_utf8(&out).is_ok() { Bytes::from(out) } else { text.clone() }
}
