//! `flagstop instances why`: one paragraph that says what would have to happen for the instance to go on.

use std::sync::Arc;

use flagstop_engine::api::{Difference, WaitReason};
use flagstop_schemas::CloudEvent;
use flagstop_store::port::{InstanceFilter, ParkedFilter, Store};
use flagstop_store::rows::ParkedRow;
use flagstop_store::rows::REMARK_ROW;
use serde_json::{Value, json};

use super::history;
use super::read::{self, Definitions, Record, waiting_text};
use crate::args::Output;
use crate::config::{Config, Flags};
use crate::exit::Failure;
use crate::node;
use crate::term::{brief, tame};
use crate::time::{distance, now_us, rfc3339};

/// Parked events of the awaited type that are shown.
const PARKED_SHOWN_MAX: i64 = 3;

/// Results that came too late that are shown.
const LATE_SHOWN_MAX: usize = 3;

/// Longest text of an error that is shown, in bytes.
const ERROR_TEXT_BYTES_MAX: usize = 500;

/// Characters of a value that does not fit that are shown.
const VALUE_CHARS_MAX: usize = 60;

/// Waiting instances of which a demonstration tells.
const TOLD_MAX: i64 = 5;

/// An early event of an awaited type that is nobody's so far.
struct Parked {
    event: CloudEvent,
    expires_us: i64,
    /// The task that would have to take it.
    task: String,
    /// Where it differs from what that task awaits, as far as that can be told.
    differs: Vec<Difference>,
}

/// The paragraph.
pub async fn run(store: &Arc<dyn Store>, id: &str, output: Output) -> Result<String, Failure> {
    let record = read::find(store, id).await?;
    let mut waits = Vec::new();
    for wait in &record.waiting {
        waits.push((wait, parked(store, &record, wait).await?));
    }
    let mut text = paragraph(&record, &waits);
    for line in late_results(store, &record).await? {
        text.push_str(&format!(" {line}."));
    }
    if output == Output::Table {
        return Ok(text);
    }
    let parked: Vec<Value> = waits.iter().flat_map(|(_, parked)| parked).map(parked_json).collect();
    let waits: Vec<Value> = waits.iter().map(|(wait, _)| wait_json(wait)).collect();
    let id = record.summary.id.to_string();
    Ok(json!({ "id": id, "status": record.status(), "text": text, "waits": waits, "parked": parked }).to_string())
}

/// The newest results that came too late (PROTOCOL D9).
async fn late_results(store: &Arc<dyn Store>, record: &Record) -> Result<Vec<String>, Failure> {
    let rows = store.history(record.summary.id).await?;
    let late = rows.iter().rev().filter(|row| row.revision == REMARK_ROW);
    let told =
        late.flat_map(|row| history::late_results(row).into_iter().map(|it| tame(&history::late_text(row, &it))));
    let mut lines: Vec<String> = told.take(LATE_SHOWN_MAX).collect();
    lines.iter_mut().for_each(|line| line[..1].make_ascii_uppercase());
    Ok(lines)
}

fn paragraph(record: &Record, waits: &[(&WaitReason, Vec<Parked>)]) -> String {
    let mut text = format!("{} ", subject(record));
    if let Some(reason) = &record.summary.aside {
        text.push_str(&format!("was set aside: {}. It ", tame(reason)));
    }
    text.push_str(&match (record.instance.is_some(), record.status()) {
        (false, _) => "can't be read by this build: its definition or its snapshot is of a newer one.".to_owned(),
        (true, status @ ("completed" | "cancelled" | "faulted")) => {
            let ended = record.summary.ended_us.map(rfc3339).unwrap_or_default();
            let error = record.instance.as_ref().and_then(|instance| instance.error());
            let error = error.map(|error| format!(" Its error: {}.", error.shortened(ERROR_TEXT_BYTES_MAX)));
            let error = tame(&error.unwrap_or_default());
            format!("{} at {ended}: nothing can happen any more.{error}", past(status))
        }
        (true, "running") if waits.is_empty() => "is running: a worker has it in hand, or will within seconds.".into(),
        (true, status) if waits.is_empty() => format!("is {status}, and waits for nothing from outside."),
        (true, status) => format!("is {status}."),
    });
    if let Some(stream) = &record.quarantined {
        let since = rfc3339(stream.since_us);
        text.push_str(&format!(" Since {since} its events do not leave: {}.", tame(&stream.reason)));
    }
    for (wait, parked) in waits {
        text.push_str(&format!(" {}", wait_sentence(wait)));
        if wait.kind == "event" {
            text.push_str(&parked_text(parked));
        }
    }
    text
}

fn past(status: &str) -> String {
    let verb = if status == "cancelled" { "was" } else { "has" };
    format!("{verb} {status}")
}

/// A line for each waiting instance of a store, for a demonstration.
pub async fn why_all(store_url: &str, file: Option<&std::path::Path>) -> Result<Vec<String>, Failure> {
    let config = Config::load(&Flags { file, store: Some(store_url), ..Flags::default() })?;
    let store = node::open_current_store(&config).await?;
    let statuses = vec![flagstop_engine::api::Phase::Waiting as i16];
    let filter = InstanceFilter { limit: TOLD_MAX, statuses, ..InstanceFilter::default() };
    let mut definitions = Definitions::load(&store).await?;
    let mut lines = Vec::new();
    for summary in store.list_instances(&filter).await? {
        let record = definitions.record(&store, summary).await?;
        let waits: Vec<String> = record.waiting.iter().map(waiting_text).collect();
        lines.push(tame(&format!("{} waits for {}", subject(&record), waits.join(" and "))));
    }
    store.close().await;
    Ok(lines)
}

fn subject(record: &Record) -> String {
    let key = record.summary.business_key.as_deref().map(|key| format!(" ({})", tame(key))).unwrap_or_default();
    format!("{} {}{key}", record.definition(), record.summary.id)
}

/// A wait for people, as a sentence.
pub fn wait_sentence(wait: &WaitReason) -> String {
    let since = format!("since {} ({})", rfc3339(wait.since_us), distance(wait.since_us, now_us()));
    let until = match wait.until_us {
        Some(until) => format!("until {} at the latest", rfc3339(until)),
        None => "without an end".to_owned(),
    };
    let what = match wait.kind {
        "event" => format!("an {}", waiting_text(wait)),
        "effect" => format!("the answer of {}", wait.what),
        _ => waiting_text(wait),
    };
    tame(&format!("At {} it waits for {what}, {since}, {until}.", wait.task))
}

async fn parked(store: &Arc<dyn Store>, record: &Record, wait: &WaitReason) -> Result<Vec<Parked>, Failure> {
    if wait.kind != "event" {
        return Ok(Vec::new());
    }
    let mut parked = Vec::new();
    // A listen may await several types.
    for ty in wait.what.split(", ") {
        // One that awaits any type could take any event.
        let any = ["any event", "any type"].contains(&ty);
        let filter = ParkedFilter {
            event_type: (!any).then(|| ty.to_owned()),
            limit: PARKED_SHOWN_MAX,
            ..ParkedFilter::default()
        };
        for ParkedRow { parked: row, .. } in store.parked(&filter).await? {
            let text = std::str::from_utf8(&row.event).ok();
            let Some(event) = text.and_then(|text| crate::events::from_line(text).ok()) else { continue };
            let differs = record.differences(&wait.task, &event);
            parked.push(Parked { event, expires_us: row.expires_us, task: wait.task.clone(), differs });
        }
    }
    Ok(parked)
}

fn parked_text(parked: &[Parked]) -> String {
    if parked.is_empty() {
        return " No such event is kept for a later waiter.".to_owned();
    }
    let mut text = String::from(" Kept for a later waiter, but not for this one:");
    for Parked { event, differs, expires_us, .. } in parked {
        let why: Vec<String> = differs.iter().map(difference_text).collect();
        let why = if why.is_empty() { "it does not fit".to_owned() } else { why.join(", ") };
        let (id, source, until) = (&event.id, &event.source, rfc3339(*expires_us));
        text.push_str(&format!(" event {id} from {source}, kept until {until}: {why};"));
    }
    text.pop();
    tame(&format!("{text}."))
}

fn difference_text(difference: &Difference) -> String {
    let Difference { name, awaited, found } = difference;
    let found = brief(found, VALUE_CHARS_MAX);
    match awaited {
        Some(awaited) => format!("{name} is {found}, not {}", brief(awaited, VALUE_CHARS_MAX)),
        None => format!("{name} is {found}, which is not what is asked for"),
    }
}

/// A wait for programs.
pub fn wait_json(wait: &WaitReason) -> Value {
    let keys = wait.correlate.iter().map(|(name, text)| {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|_| text.clone().into());
        (name.clone(), value)
    });
    json!({
        "task": wait.task,
        "kind": wait.kind,
        "what": wait.what,
        "correlate": Value::Object(keys.collect()),
        "since": rfc3339(wait.since_us),
        "until": wait.until_us.map(rfc3339),
    })
}

fn parked_json(parked: &Parked) -> Value {
    let Parked { event, expires_us, task, differs } = parked;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let differs: Vec<Value> = (differs.iter())
        .map(|d| json!({ "name": d.name, "awaited": d.awaited.as_deref().map(json), "found": json(&d.found) }))
        .collect();
    json!({
        "id": event.id,
        "source": event.source,
        "type": event.ty,
        "expiresAt": rfc3339(*expires_us),
        "task": task,
        "differs": differs,
    })
}
