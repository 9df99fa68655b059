//! The writing half of the journal's codec.

use bytes::Bytes;
use serde_json::Value;

use super::{
    DATA_ABSENT, DATA_BINARY, DATA_JSON, ENTRY_ANSWER, ENTRY_EMITTED, ENTRY_LATE, ENTRY_STATUS, FORMAT, FORMAT_FIRST,
    VALUE_JSON, VALUE_TEXT,
};
use crate::{CloudEvent, Data, Entry, Header, JsonText, StatusEvent};

/// Room for an entry's fixed part.
const ENTRY_BYTES: usize = 64;

pub(super) fn row(header: &Header, entries: &[Entry]) -> Bytes {
    let mut out = Vec::with_capacity(128 + entries.iter().map(size).sum::<usize>());
    let newest = entries.iter().any(|entry| matches!(entry, Entry::Answer(_) | Entry::Late(_)));
    out.push(if newest { FORMAT } else { FORMAT_FIRST });
    text(&mut out, &header.namespace);
    text(&mut out, &header.name);
    text(&mut out, &header.version);
    out.extend_from_slice(header.instance.0.as_bytes());
    optional(&mut out, header.business_key.as_deref());
    number(&mut out, entries.len() as u64);
    for entry in entries {
        match entry {
            Entry::Status(event) => status(&mut out, event),
            Entry::Emitted(event) => emitted(&mut out, ENTRY_EMITTED, event),
            Entry::Answer(event) => emitted(&mut out, ENTRY_ANSWER, event),
            Entry::Late(late) => {
                out.push(ENTRY_LATE);
                text(&mut out, &late.task);
                text(&mut out, &late.result);
            }
        }
    }
    out.into()
}

/// A guess, so that large payloads are not copied again and again while the row grows.
fn size(entry: &Entry) -> usize {
    let raw_bytes = |raw: &Option<JsonText>| raw.as_ref().map_or(0, |raw| raw.get().len());
    ENTRY_BYTES
        + match entry {
            Entry::Late(late) => late.task.len() + late.result.len(),
            Entry::Status(event) => raw_bytes(&event.output) + raw_bytes(&event.error),
            Entry::Emitted(event) | Entry::Answer(event) => match &event.data {
                Data::Absent => ENTRY_BYTES,
                Data::Json(bytes) | Data::Binary(bytes) => ENTRY_BYTES + bytes.len(),
            },
        }
}

fn status(out: &mut Vec<u8>, event: &StatusEvent) {
    out.extend_from_slice(&[ENTRY_STATUS, event.kind as u8]);
    number(out, event.sequence);
    out.extend_from_slice(&event.at_us.to_be_bytes());
    optional(out, event.task.as_deref());
    for raw in [&event.output, &event.error, &event.correlation_keys] {
        optional(out, raw.as_ref().map(|raw| raw.get()));
    }
    number(out, event.attributes.len() as u64);
    for (name, value) in &event.attributes {
        text(out, name);
        attribute(out, value);
    }
}

fn emitted(out: &mut Vec<u8>, entry: u8, event: &CloudEvent) {
    out.push(entry);
    for required in [&event.id, &event.source, &event.ty] {
        text(out, required);
    }
    for given in [&event.subject, &event.time, &event.datacontenttype, &event.dataschema] {
        optional(out, given.as_deref());
    }
    number(out, event.extensions.len() as u64);
    for (name, value) in &event.extensions {
        text(out, name);
        attribute(out, value);
    }
    let (tag, data) = match &event.data {
        Data::Absent => (DATA_ABSENT, &[] as &[u8]),
        Data::Json(data) => (DATA_JSON, data.as_ref()),
        Data::Binary(data) => (DATA_BINARY, data.as_ref()),
    };
    out.push(tag);
    if tag != DATA_ABSENT {
        block(out, data);
    }
}

fn attribute(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(value) => {
            out.push(VALUE_TEXT);
            text(out, value);
        }
        value => {
            out.push(VALUE_JSON);
            text(out, &value.to_string());
        }
    }
}

fn optional(out: &mut Vec<u8>, value: Option<&str>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        text(out, value);
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    block(out, value.as_bytes());
}

fn block(out: &mut Vec<u8>, value: &[u8]) {
    number(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
