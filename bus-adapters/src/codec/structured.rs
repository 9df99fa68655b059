//! Structured mode: the whole event is one JSON object in the body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flagstop_schemas::{CloudEvent, Data};
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::attributes::Attributes;
use super::{CodecError, CodecLimits, is_json, json};

const WHAT: &str = "the structured event";

pub(super) fn decode(body: &Bytes, limits: &CodecLimits) -> Result<CloudEvent, CodecError> {
    json::check_depth(body, WHAT, limits)?;
    let text = std::str::from_utf8(body)
        .map_err(|why| CodecError::NotJson { what: WHAT, why: format!("it is not UTF-8: {why}") })?;
    let mut failure = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let envelope = reader
        .deserialize_map(Members { limits, failure: &mut failure })
        .and_then(|envelope| reader.end().map(|()| envelope));
    let envelope = match (envelope, failure) {
        (Ok(envelope), _) => envelope,
        (Err(_), Some(failure)) => return Err(failure),
        (Err(why), None) if why.is_data() => return Err(CodecError::NotCloudEvent(format!("{WHAT} is {why}"))),
        (Err(why), None) => return Err(json::not_json(WHAT, &why)),
    };
    let data = data(body, &envelope, limits)?;
    envelope.attributes.into_event(data)
}

#[derive(Debug)]
struct Envelope<'de> {
    attributes: Attributes,
    data: Option<&'de RawValue>,
    data_base64: Option<String>,
}

fn data(body: &Bytes, envelope: &Envelope<'_>, limits: &CodecLimits) -> Result<Data, CodecError> {
    match (envelope.data, &envelope.data_base64) {
        (Some(_), Some(_)) => {
            Err(CodecError::attribute("data_base64", "stands beside `data`; an event has one of the two"))
        }
        (None, None) => Ok(Data::Absent),
        (None, Some(encoded)) => {
            let bytes = STANDARD
                .decode(encoded)
                .map_err(|why| CodecError::attribute("data_base64", format!("is not base64 (RFC 4648): {why}")))?;
            let bytes = Bytes::from(bytes);
            match envelope.attributes.datacontenttype() {
                Some(media_type) if is_json(media_type) => {
                    json::check(&bytes, "the data", limits)?;
                    Ok(Data::Json(bytes))
                }
                _ => Ok(Data::Binary(bytes)),
            }
        }
        (Some(raw), None) => {
            // A slice of the body: nothing is copied, and nothing of the author's spelling is lost.
            let bytes = body.slice_ref(raw.get().as_bytes());
            json::check(&bytes, "the data", limits)?;
            let is_text = envelope.attributes.datacontenttype().is_some_and(|media_type| !is_json(media_type));
            // A string under another media type is the text itself (JSON format, section 3.1).
            match is_text.then(|| serde_json::from_slice::<String>(&bytes)) {
                Some(Ok(text)) => Ok(Data::Binary(Bytes::from(text))),
                _ => Ok(Data::Json(bytes)),
            }
        }
    }
}

/// Reads the members. Our own errors leave through `failure`, because serde's have no room for them.
struct Members<'a> {
    limits: &'a CodecLimits,
    failure: &'a mut Option<CodecError>,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent: an object with specversion, id, source and type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope { attributes: Attributes::default(), data: None, data_base64: None };
        while let Some(name) = members.next_key::<String>()? {
            let result = match name.as_str() {
                "data" => {
                    let raw: &'de RawValue = members.next_value()?;
                    // Most senders that write `null` mean that there is no data.
                    match (raw.get(), envelope.data.is_some()) {
                        ("null", _) => Ok(()),
                        (_, true) => Err(CodecError::attribute("data", "is given twice; give it once")),
                        (_, false) => {
                            envelope.data = Some(raw);
                            Ok(())
                        }
                    }
                }
                "data_base64" => match members.next_value::<Value>()? {
                    Value::Null => Ok(()),
                    Value::String(_) if envelope.data_base64.is_some() => {
                        Err(CodecError::attribute("data_base64", "is given twice; give it once"))
                    }
                    Value::String(text) => {
                        envelope.data_base64 = Some(text);
                        Ok(())
                    }
                    _ => Err(CodecError::attribute("data_base64", "must be a string of base64")),
                },
                _ => match members.next_value::<Value>()? {
                    Value::Null => Ok(()),
                    value => envelope.attributes.insert(&name, value, self.limits),
                },
            };
            if let Err(why) = result {
                *self.failure = Some(why);
                return Err(A::Error::custom("see failure"));
            }
        }
        Ok(envelope)
    }
}
