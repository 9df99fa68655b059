//! A CloudEvent 1.0 as it travels between the bus, the engine and the journal.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Value;
use serde_json::value::RawValue;

/// An event of the CloudEvents specification, version 1.0.
///
/// The data stays in the bytes in which it arrived, so that nothing is lost on the way through (PROTOCOL D20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvent {
    /// Identifies the event within its `source`; `source` + `id` is what duplicates share.
    pub id: String,
    /// URI reference of the context in which the event happened.
    pub source: String,
    /// The event's type, such as `com.example.hired`.
    pub ty: String,
    /// What the event is about, in the context of its source.
    pub subject: Option<String>,
    /// RFC 3339 timestamp, as it was written.
    pub time: Option<String>,
    /// Media type of the data. `None` stands for `application/json` when the data is JSON.
    pub datacontenttype: Option<String>,
    /// URI of the schema that the data adheres to.
    pub dataschema: Option<String>,
    /// Extension attributes by their lower-case names, in their canonical string form, type kept by the codec's JSON
    /// form: strings as they are, numbers and booleans as JSON literals.
    pub extensions: BTreeMap<String, Value>,
    /// The payload.
    pub data: Data,
}

/// A CloudEvent's payload, undecoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Data {
    /// No data.
    #[default]
    Absent,
    /// JSON text: well-formed UTF-8 JSON, within the limits that the codec was given.
    Json(Bytes),
    /// Anything else, as bytes.
    Binary(Bytes),
}

/// Why a name or a value can't be a CloudEvent attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// A required attribute is missing or empty.
    #[error("required attribute `{0}` is missing or empty")]
    Missing(&'static str),
    /// The attribute's value is not of the form that the specification asks for.
    #[error("attribute `{name}` is invalid: {why}")]
    Invalid {
        /// The attribute's name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Room for an event's attributes in JSON.
const ENVELOPE_BYTES: usize = 512;

/// Names that an extension attribute can't have, because the event's own members have them.
const RESERVED: [&str; 10] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"];

impl CloudEvent {
    /// Checks the attributes against the CloudEvents specification; the data is not looked at.
    ///
    /// # Errors
    /// The first attribute that is missing or wrong.
    pub fn validate(&self) -> Result<(), AttributeError> {
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.ty)] {
            if value.is_empty() {
                return Err(AttributeError::Missing(name));
            }
            check_text(name, value)?;
        }
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            match value {
                Some(value) if value.is_empty() => return Err(invalid(name, "is empty; leave it out instead")),
                Some(value) => check_text(name, value)?,
                None => {}
            }
        }
        for (name, uri) in [("source", Some(&self.source)), ("dataschema", self.dataschema.as_ref())] {
            if uri.is_some_and(|uri| uri.contains(char::is_whitespace)) {
                return Err(invalid(name, "is no URI: it has white space; percent-encode it"));
            }
        }
        if self.time.as_ref().is_some_and(|time| !is_rfc3339(time)) {
            return Err(invalid("time", "is no RFC 3339 time such as 2026-11-21T10:33:00Z"));
        }
        self.extensions.iter().try_for_each(|(name, value)| check_extension(name, value))
    }

    /// The event in CloudEvents' JSON format (structured mode), on one line. JSON data stays as it was written, but for
    /// line breaks between its tokens.
    #[must_use]
    pub fn to_json(&self) -> String {
        let bytes = self.write_json().expect("writing strings and checked JSON into memory can't fail");
        String::from_utf8(bytes).expect("serde_json writes UTF-8")
    }

    fn write_json(&self) -> serde_json::Result<Vec<u8>> {
        let (data_bytes, text) = match &self.data {
            Data::Absent => (0, None),
            Data::Binary(bytes) => (bytes.len() / 3 * 4, None),
            Data::Json(bytes) => (bytes.len(), Some(one_line(bytes))),
        };
        let mut json = Vec::with_capacity(ENVELOPE_BYTES + data_bytes);
        let mut writer = serde_json::Serializer::new(&mut json);
        let mut members = writer.serialize_map(None)?;
        members.serialize_entry("specversion", "1.0")?;
        let attributes = [
            ("id", Some(&self.id)),
            ("source", Some(&self.source)),
            ("type", Some(&self.ty)),
            ("subject", self.subject.as_ref()),
            ("time", self.time.as_ref()),
            ("datacontenttype", self.datacontenttype.as_ref()),
            ("dataschema", self.dataschema.as_ref()),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                members.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.extensions {
            members.serialize_entry(name, value)?;
        }
        match (&self.data, text.as_deref().map(serde_json::from_slice::<&RawValue>)) {
            (Data::Json(_), Some(Ok(raw))) => members.serialize_entry("data", raw)?,
            // Should text that is no JSON ever get here, it still leaves whole.
            (Data::Json(bytes) | Data::Binary(bytes), _) => {
                members.serialize_entry("data_base64", &STANDARD.encode(bytes))?;
            }
            (Data::Absent, _) => {}
        }
        members.end()?;
        Ok(json)
    }
}

/// JSON text without line breaks. Strings can't hold them unescaped, so they are all white space.
fn one_line(json: &[u8]) -> Cow<'_, [u8]> {
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if json.iter().any(breaks) {
        Cow::Owned(json.iter().copied().filter(|byte| !breaks(byte)).collect())
    } else {
        Cow::Borrowed(json)
    }
}

fn check_extension(name: &str, value: &Value) -> Result<(), AttributeError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if RESERVED.contains(&name) {
        return Err(invalid(name, "is the name of an attribute of its own, no extension's"));
    }
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(invalid(name, "has a name of other characters than lower-case letters a to z and digits"));
    }
    match value {
        Value::String(text) => check_text(name, text),
        Value::Bool(_) => Ok(()),
        Value::Number(number) if !number.is_f64() => Ok(()),
        _ => Err(invalid(name, "is no string, whole number or boolean; put anything else into the data")),
    }
}

fn check_text(name: &str, text: &str) -> Result<(), AttributeError> {
    if text.contains(char::is_control) {
        return Err(invalid(name, "has a control character"));
    }
    Ok(())
}

/// The parser takes a little more than RFC 3339: a blank for the `T`, no seconds, a zone in brackets.
fn is_rfc3339(time: &str) -> bool {
    let bytes = time.as_bytes();
    matches!(bytes.get(10), Some(b'T' | b't'))
        && bytes.get(16) == Some(&b':')
        && !time.contains('[')
        && time.parse::<jiff::Timestamp>().is_ok()
}

fn invalid(name: &str, why: &str) -> AttributeError {
    AttributeError::Invalid { name: name.to_owned(), why: why.to_owned() }
}
