//! A CloudEvent 1.0 as it travels between the bus, the engine and the journal.

use std::collections::BTreeMap;

use bytes::Bytes;

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
    pub extensions: BTreeMap<String, serde_json::Value>,
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
