//! The live log of `dev`: each event that leaves as one readable line.

use flagstop_schemas::{Answer, COMMAND_PREFIX, CloudEvent, Data};
use serde_json::Value;

use crate::term::{Paint, Style, brief, tame};

/// The first line of `dev --output json`: its `source` is the address that takes events.
pub const READY_TYPE: &str = "io.flagstop.dev.ready.v1";

/// A workflow that ended by an error.
pub const FAULTED_TYPE: &str = "io.serverlessworkflow.workflow.faulted.v1";

/// What the types of status events have in common.
const STATUS_PREFIX: &str = "io.serverlessworkflow.";

/// Characters of an event's data that a line shows.
const DATA_CHARS_MAX: usize = 110;

/// Width of the column for the business key, so that the lines of one run stand below each other.
const KEY_WIDTH: usize = 8;

/// `task.faulted`, of a status event's type.
pub fn short_type(ty: &str) -> Option<&str> {
    ty.strip_prefix(STATUS_PREFIX).and_then(|rest| rest.strip_suffix(".v1"))
}

/// One line: time, workflow and instance, business key, what happened, where, and the data in brief.
pub fn line(event: &CloudEvent, paint: Paint) -> String {
    let time = paint.on(Style::Dim, clock(event));
    match short_type(&event.ty) {
        Some(what) => format!("{time}  {}", status(event, what, paint)),
        None => match Answer::routing_key(&event.ty) {
            Some(what) => format!("{time}  {}", answer(event, what, paint)),
            None => format!("{time}  {}", emitted(event, paint)),
        },
    }
}

/// Which command, of whom, for which instance; and why not.
fn answer(event: &CloudEvent, what: &str, paint: Paint) -> String {
    let data = json(&event.data);
    let field = |name: &str| tame(data.get(name).and_then(Value::as_str).unwrap_or_default());
    let ty = field("commandType");
    let verb = ty.strip_prefix(COMMAND_PREFIX).and_then(|rest| rest.strip_suffix(".v1")).unwrap_or(&ty).to_owned();
    let style = if data.get("code").is_some() { Style::Bad } else { Style::Good };
    let instance: String = field("instance").chars().take(8).collect();
    let why = brief(&[field("code"), field("reason")].join(" "), DATA_CHARS_MAX);
    let row = format!(
        "{} {verb} {instance}  {} from {}  {}",
        paint.on(style, &what.replace('.', " ")),
        field("commandId"),
        field("commandSource"),
        paint.on(Style::Dim, &why)
    );
    row.trim_end().to_owned()
}

fn status(event: &CloudEvent, what: &str, paint: Paint) -> String {
    // source = /namespace/name/version, subject = instance id
    let workflow = event.source.rsplit('/').nth(1).unwrap_or(&event.source);
    let instance: String = event.subject.iter().flat_map(|id| id.chars().take(8)).collect();
    let who = paint.on(Style::Name, &format!("{} {instance}", tame(workflow)));
    let key = text(event.extensions.get("businesskey"));
    let what = what.replace('.', " ");
    let style = match what.as_str() {
        "workflow completed" => Style::Good,
        w if w.ends_with("faulted") || w.ends_with("cancelled") => Style::Bad,
        w if w.contains("correlation") || w.ends_with("suspended") || w.ends_with("resumed") => Style::Wait,
        w if w.starts_with("workflow") => Style::Name,
        _ => Style::Dim,
    };
    let data = json(&event.data);
    let place = match (event.extensions.get("task"), data.get("task")) {
        (Some(task), _) | (None, Some(task)) => text(Some(task)),
        (None, None) => String::new(),
    };
    let shown = ["error", "output", "correlationKeys"].iter().find_map(|field| data.get(*field));
    let shown = shown.map(|value| brief(&value.to_string(), DATA_CHARS_MAX)).unwrap_or_default();
    let row = format!(
        "{who}  {:<KEY_WIDTH$}  {}{}  {}  {}",
        tame(&key),
        paint.on(style, &what),
        " ".repeat(30_usize.saturating_sub(what.len())),
        tame(&place),
        paint.on(Style::Dim, &shown)
    );
    row.trim_end().to_owned()
}

fn emitted(event: &CloudEvent, paint: Paint) -> String {
    let reason = event.extensions.get("flagstopreason");
    let what = if reason.is_some() { Style::Bad } else { Style::Own };
    let subject = event.subject.as_deref().map(tame).unwrap_or_default();
    let data = brief(&json(&event.data).to_string(), DATA_CHARS_MAX);
    let row = format!(
        "{} {}  {subject}  from {}  {}",
        paint.on(what, "emitted event"),
        paint.on(what, &tame(&event.ty)),
        tame(&event.source),
        paint.on(Style::Dim, &data)
    );
    row.trim_end().to_owned()
}

/// The time of day of an RFC 3339 time, to the millisecond.
fn clock(event: &CloudEvent) -> &str {
    let time = event.time.as_deref().and_then(|t| t.split_once('T')).map_or("", |(_, clock)| clock);
    let end = time.find(['Z', '+', '-']).unwrap_or(time.len()).min(12);
    time.get(..end).unwrap_or("")
}

fn json(data: &Data) -> Value {
    match data {
        Data::Json(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
        Data::Absent => Value::Null,
        Data::Binary(bytes) => format!("{} bytes", bytes.len()).into(),
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
