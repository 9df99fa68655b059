//! `flagstop instances history`

use std::sync::Arc;

use flagstop_schemas::{CloudEvent, Entry, journal, render};
use flagstop_store::port::Store;
use flagstop_store::rows::JournalRow;
use serde_json::{Value, json};

use super::read;
use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::live;
use crate::term::{Paint, Style};
use crate::time::rfc3339;

/// The journal as text.
pub async fn run(store: &Arc<dyn Store>, id: &str, output: Output) -> Result<String, Failure> {
    let record = read::find(store, id).await?;
    let rows = store.history(record.summary.id).await?;
    let mut lines = Vec::new();
    let mut transitions = Vec::new();
    let paint = Paint::stdout();
    for row in &rows {
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

/// The row's events as they left, or will leave.
pub fn events(row: &JournalRow) -> Result<Vec<CloudEvent>, Failure> {
    let (header, entries) = journal::decode(&row.events).map_err(|why| {
        let what = format!("the journal row of revision {} can't be read: {why}", row.revision);
        Failure::new(Exit::Failed, "FS-JOURNAL", what, "use the build that wrote it, or a newer one")
    })?;
    let event = |entry| match entry {
        Entry::Status(status) => render(&header, &status),
        Entry::Emitted(event) | Entry::Answer(event) => *event,
    };
    Ok(entries.into_iter().map(event).collect())
}
