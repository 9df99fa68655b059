//! Bytes with a media type as a value: HTTP bodies and the data of events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::api::Value;
use crate::limits::Limits;
use crate::value::{self, ValueError};

/// How bytes of a media type are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Text,
    /// As base64.
    Binary,
}

/// `application/json; charset=utf-8` → JSON. Without a media type nothing is known: binary.
pub(crate) fn form(media_type: Option<&str>) -> Form {
    let essence = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (family, kind) = essence.split_once('/').unwrap_or_default();
    match (family, kind) {
        (_, kind) if kind == "json" || kind.ends_with("+json") => Form::Json,
        ("text", _) | ("application", "xml" | "x-www-form-urlencoded") => Form::Text,
        (_, kind) if kind.ends_with("+xml") => Form::Text,
        _ => Form::Binary,
    }
}

/// The bytes as a value; none at all are null.
pub(crate) fn decode(media_type: Option<&str>, bytes: &[u8], limits: &Limits) -> Result<Value, ValueError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    match form(media_type) {
        Form::Json => value::parse_json(bytes, limits),
        Form::Text => Ok(text(bytes)),
        Form::Binary => Ok(base64(bytes)),
    }
}

/// Text; broken UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> Value {
    value::string(String::from_utf8_lossy(bytes))
}

/// The bytes that a text stands for; `None`: it is no base64.
pub(crate) fn from_base64(text: &str) -> Option<bytes::Bytes> {
    STANDARD.decode(text).ok().map(Into::into)
}

pub(crate) fn base64(bytes: &[u8]) -> Value {
    value::string(STANDARD.encode(bytes))
}
