//! Turns a status event of the journal into the CloudEvent that leaves, the same each time it is published.
//!
//! Must never look at a clock or re-parse what the journal holds: output, error and correlation keys pass as they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::{CloudEvent, Data, Header, STATUS, Scope, StatusEvent, StatusKind};

/// What RFC 3339 can write: the years 1 to 9999, less a day on either side for time zones.
const TIME_US_MIN: i64 = -62_135_510_400_000_000;
const TIME_US_MAX: i64 = 253_402_207_200_000_000;

/// Room for the data's fixed part: braces, field names, the ids, the time.
const DATA_FIXED_BYTES: usize = 192;

/// The CloudEvent of a status event by itself; of several of one instance, [`Renderer`] makes what they share once.
#[must_use]
pub fn render(header: &Header, event: &StatusEvent) -> CloudEvent {
    Renderer::new(header).render(event)
}

/// Renders the status events of one instance: what they have in common is made once.
#[derive(Debug)]
pub struct Renderer<'a> {
    header: &'a Header,
    instance: String,
    source: String,
    /// The instance's qualified name, as JSON.
    name: Vec<u8>,
    /// The moment of the last one, and its text: the events of one transition share it.
    time: (i64, String),
}

impl<'a> Renderer<'a> {
    /// For the events of this instance.
    #[must_use]
    pub fn new(header: &'a Header) -> Self {
        let instance = header.instance.to_string();
        let mut name = Vec::with_capacity(header.name.len() + header.namespace.len() + instance.len() + 4);
        push_string(&mut name, &format!("{}-{instance}.{}", header.name, header.namespace));
        Self { header, source: source(header), instance, name, time: (0, String::new()) }
    }

    /// The CloudEvent of a status event.
    #[must_use]
    pub fn render(&mut self, event: &StatusEvent) -> CloudEvent {
        if self.time.1.is_empty() || self.time.0 != event.at_us {
            self.time = (event.at_us, time_text(event.at_us));
        }
        CloudEvent {
            id: id(event, &self.instance),
            source: self.source.clone(),
            ty: event.kind.wire_type().to_owned(),
            time: Some(self.time.1.clone()),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: Some(event.kind.schema_id().to_owned()),
            extensions: extensions(self.header, event, &self.instance),
            subject: Some(self.instance.clone()),
            data: Data::Json(self.data(event)),
        }
    }

    /// The data: what the transition holds passes as it is.
    fn data(&self, event: &StatusEvent) -> Bytes {
        let header = self.header;
        let raws = [("output", &event.output), ("error", &event.error), ("correlationKeys", &event.correlation_keys)];
        let raw_bytes: usize = raws.iter().filter_map(|(_, raw)| raw.as_ref()).map(|raw| raw.get().len()).sum();
        let task = event.task.as_deref().filter(|_| event.kind.scope() == Scope::Task);
        let names_bytes = 2 * (header.name.len() + header.namespace.len()) + task.map_or(0, str::len);
        let mut json = Vec::with_capacity(DATA_FIXED_BYTES + names_bytes + raw_bytes);

        let whose = match event.kind.scope() {
            Scope::Workflow => "name",
            Scope::Task => "workflow",
        };
        json.extend_from_slice(b"{\"");
        json.extend_from_slice(whose.as_bytes());
        json.extend_from_slice(b"\":");
        json.extend_from_slice(&self.name);
        if let Some(task) = task {
            push_key(&mut json, "task");
            push_string(&mut json, task);
        }
        if event.kind == StatusKind::WorkflowStarted {
            push_key(&mut json, "definition");
            json.extend_from_slice(b"{\"name\":");
            push_string(&mut json, &header.name);
            push_key(&mut json, "namespace");
            push_string(&mut json, &header.namespace);
            push_key(&mut json, "version");
            push_string(&mut json, &header.version);
            json.push(b'}');
        }
        push_key(&mut json, event.kind.time_field());
        push_string(&mut json, &self.time.1);
        if let Some(status) = status(event) {
            push_key(&mut json, "status");
            push_string(&mut json, status);
        }
        // Written whatever the kind is: a field where none belongs is a defect that the validator must see.
        for (key, raw) in raws {
            if let Some(raw) = raw {
                push_key(&mut json, key);
                json.extend_from_slice(raw.get().as_bytes());
            }
        }
        json.push(b'}');
        json.into()
    }
}

/// An optional event has no number of its own: the required one before it, its scope and its phase tell it apart.
fn id(event: &StatusEvent, instance: &str) -> String {
    match status(event) {
        Some(status) => format!("{instance}-{}-{}-{status}", event.sequence, event.kind.scope().as_str()),
        None => {
            let mut id = String::with_capacity(instance.len() + 8);
            id.push_str(instance);
            id.push('-');
            id.push_str(&event.sequence.to_string());
            id
        }
    }
}

/// The phase that a status-changed event tells.
fn status(event: &StatusEvent) -> Option<&str> {
    let (_, status) = event.attributes.iter().find(|(name, _)| *name == STATUS)?;
    status.as_str().filter(|_| StatusKind::optional().contains(&event.kind))
}

/// The routing key of a status event: `<namespace>.<name>.<workflow or task>.<what>`.
#[must_use]
pub fn routing_key(header: &Header, kind: StatusKind) -> String {
    format!("{}.{}.{}.{}", header.namespace, header.name, kind.scope().as_str(), kind.what())
}

/// The `source` of all status events of a definition: `/<namespace>/<name>/<version>`.
fn source(header: &Header) -> String {
    let mut text = String::with_capacity(header.namespace.len() + header.name.len() + header.version.len() + 3);
    for segment in [&header.namespace, &header.name, &header.version] {
        text.push('/');
        push_segment(&mut text, segment);
    }
    text
}

/// Writes a path segment of a URI; what may not stand there is percent-encoded (RFC 3986 §3.3).
fn push_segment(text: &mut String, segment: &str) {
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// RFC 3339 in UTC, always with six digits after the second, so that texts sort as times do.
pub(crate) fn time_text(at_us: i64) -> String {
    let time = Timestamp::from_microsecond(at_us.clamp(TIME_US_MIN, TIME_US_MAX));
    format!("{:.6}", time.expect("the bounds lie within jiff's"))
}

fn extensions(header: &Header, event: &StatusEvent, instance: &str) -> BTreeMap<String, Value> {
    let mut extensions = BTreeMap::new();
    let mut put = |name: &str, value: Value| extensions.insert(name.to_owned(), value);
    for (name, value) in event.attributes.iter().filter(|(name, _)| *name != STATUS) {
        put(name, attribute(value.clone()));
    }
    if event.kind.scope() == Scope::Workflow
        && let Some(task) = &event.task
    {
        put("task", attribute(task.as_str().into()));
    }
    if let Some(key) = &header.business_key {
        put("businesskey", attribute(key.as_str().into()));
    }
    put("partitionkey", instance.into());
    if !StatusKind::optional().contains(&event.kind) {
        put("sequence", event.sequence.to_string().into());
    }
    extensions
}

/// CloudEvents forbids control characters in attributes. They come from authors and senders (a business key, a
/// trigger's id), so they are replaced rather than lost with the whole event.
pub(crate) fn attribute(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains(char::is_control) => text.replace(char::is_control, "\u{FFFD}").into(),
        value => value,
    }
}

/// Keys are our own words and need no escapes.
fn push_key(json: &mut Vec<u8>, key: &str) {
    json.extend_from_slice(b",\"");
    json.extend_from_slice(key.as_bytes());
    json.extend_from_slice(b"\":");
}

fn push_string(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("writing a string into memory can't fail");
}
