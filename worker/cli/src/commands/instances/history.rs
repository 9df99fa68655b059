//! `flagstop instances history`

use std::sync::Arc;

use flagstop_schemas::{CloudEvent, Entry, LateResult, journal, render};
use flagstop_store::port::Store;
use flagstop_store::rows::{JournalRow, REMARK_ROW};
use serde_json::{Value, json};

use super::read;
use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::live;
use crate::term::{Paint, Style, tame};
use crate::time::rfc3339;

/// The journal as text.
pub async fn run(store: &Arc<dyn Store>, id: &str, output: Output) -> Result<String, Failure> {
    let record = read::find(store, id).await?;
    let rows = store.history(record.summary.id).await?;
    let mut lines = Vec::new();
    let mut transitions = Vec::new();
    let paint = Paint::stdout();
    let mut revision = 1;
    for row in &rows {
        if row.revision == REMARK_ROW {
            for late in late_results(row) {
                let LateResult { task, result } = &late;
                transitions.push(json!({
                    "revision": revision, "at": rfc3339(row.at_us), "events": [],
                    "late": { "task": task, "result": result }
                }));
                lines.push(paint.on(Style::Dim, &tame(&late_text(row, &late))));
            }
            continue;
        }
        revision = row.revision;
        let events = events(row)?;
        if output == Output::Json {
            let events: Vec<Value> =
                events.iter().map(|e| serde_json::from_str(&e.to_json()).unwrap_or_default()).collect();
            transitions.push(json!({ "revision": row.revision, "at": rfc3339(row.at_us), "events": events }));
            continue;
        }
        let head = format!("revision {}, committed {}", row.revision, rfc3339(row.at_us));
        lines.push(paint.on(Style::Dim, &head));
        lines.extend(events.iter().map(|event| format!("  {}", live::line(event, paint))));
    }
    Ok(match output {
        Output::Json => Value::Array(transitions).to_string(),
        Output::Table => lines.join("\n"),
    })
}

/// The results that came too late, of a row that holds such.
pub fn late_results(row: &JournalRow) -> Vec<LateResult> {
    let Ok((_, entries)) = journal::decode(&row.events) else { return Vec::new() };
    let late = |entry| if let Entry::Late(late) = entry { Some(late) } else { None };
    entries.into_iter().filter_map(late).collect()
}

/// One of them for people.
pub fn late_text(row: &JournalRow, late: &LateResult) -> String {
    format!("too late, at {}: the result of {} ({}); it changed nothing", rfc3339(row.at_us), late.task, late.result)
}

/// The row's events as they left, or will leave.
pub fn events(row: &JournalRow) -> Result<Vec<CloudEvent>, Failure> {
    let (header, entries) = journal::decode(&row.events).map_err(|why| {
        let what = format!("the journal row of revision {} can't be read: {why}", row.revision);
        Failure::new(Exit::Failed, "FS-JOURNAL", what, "use the build that wrote it, or a newer one")
    })?;
    let event = |entry| match entry {
        Entry::Status(status) => Some(render(&header, &status)),
        Entry::Emitted(event) | Entry::Answer(event) => Some(*event),
        Entry::Late(_) => None,
    };
    Ok(entries.into_iter().filter_map(event).collect())
}
