//! A CloudEvent as workflows see it: its data is parsed once, whoever asks for it.

use std::sync::OnceLock;

use flagstop_schemas::{CloudEvent, Data};

use crate::api::Value;
use crate::content::{self, Form};
use crate::limits::Limits;
use crate::value::{self, ValueError};

/// A CloudEvent with its data as a value.
#[derive(Debug)]
pub struct Event {
    envelope: CloudEvent,
    data: Value,
    /// The whole event, made when somebody first asks.
    whole: OnceLock<Value>,
}

/// Why an event can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("FS-EVENT-DATA: the event's data can't be read: {0}")]
pub struct EventError(#[from] ValueError);

/// How an event is given to a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadAs {
    Data,
    Envelope,
    Raw,
}

impl Event {
    /// Parses the event's data.
    ///
    /// # Errors
    /// JSON that is none, too deep or too large.
    pub fn parse(envelope: CloudEvent, limits: &Limits) -> Result<Self, EventError> {
        let data = match &envelope.data {
            Data::Absent => Value::Null,
            Data::Json(text) => value::parse_json(text, limits)?,
            Data::Binary(bytes) => match binary_form(&envelope) {
                Form::Text => content::text(bytes),
                _ => content::base64(bytes),
            },
        };
        Ok(Self { envelope, data, whole: OnceLock::new() })
    }

    /// The event as it travelled.
    #[must_use]
    pub fn envelope(&self) -> &CloudEvent {
        &self.envelope
    }

    /// The data; text and binary data as a string.
    #[must_use]
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// The whole event: attributes at the top level, and `data`.
    pub fn value(&self) -> &Value {
        self.whole.get_or_init(|| whole(&self.envelope, &self.data))
    }

    pub(crate) fn read(&self, read: ReadAs) -> Value {
        match (read, &self.envelope.data) {
            (ReadAs::Data, _) => self.data.clone(),
            (ReadAs::Envelope, _) => self.value().clone(),
            (ReadAs::Raw, Data::Json(text)) => content::text(text),
            (ReadAs::Raw, _) => self.data.clone(),
        }
    }
}

/// Only what is surely text is shown as text.
fn binary_form(envelope: &CloudEvent) -> Form {
    content::form(envelope.datacontenttype.as_deref())
}

/// A CloudEvent in its JSON form.
pub(crate) fn whole(envelope: &CloudEvent, data: &Value) -> Value {
    let required = [("specversion", "1.0"), ("id", &envelope.id), ("source", &envelope.source), ("type", &envelope.ty)];
    let optional = [
        ("subject", &envelope.subject),
        ("time", &envelope.time),
        ("datacontenttype", &envelope.datacontenttype),
        ("dataschema", &envelope.dataschema),
    ];
    let required = required.into_iter().map(|(name, text)| (name.to_owned(), value::string(text)));
    let optional =
        optional.into_iter().filter_map(|(name, text)| Some((name.to_owned(), value::string(text.as_deref()?))));
    let extensions = envelope.extensions.iter().map(|(name, item)| (name.clone(), value::from_serde(item)));
    let data = match &envelope.data {
        Data::Absent => None,
        Data::Binary(_) if binary_form(envelope) != Form::Text => Some(("data_base64".to_owned(), data.clone())),
        Data::Json(_) | Data::Binary(_) => Some(("data".to_owned(), data.clone())),
    };
    value::object(required.chain(optional).chain(extensions).chain(data))
}
