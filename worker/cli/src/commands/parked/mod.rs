//! `flagstop parked`: early events that are kept for a waiter that has not come yet.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use flagstop_schemas::{CloudEvent, Hash16};
use flagstop_store::port::{ParkedFilter, Store};
use flagstop_store::rows::ParkedRow;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::args::{Output, StoreFlag};
use crate::config::{Config, Flags};
use crate::events;
use crate::exit::{Exit, Failure};
use crate::live;
use crate::node;
use crate::term::{Paint, brief, print_line, table};
use crate::time::rfc3339;

/// Characters of a cell that a table shows.
const CELL_CHARS_MAX: usize = 60;

/// Reads the store; needs no bus. What somebody has heard is not listed.
#[derive(Debug, Args)]
pub struct Parked {
    #[command(flatten)]
    store: StoreFlag,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The newest events that nobody has heard yet
    List(List),
    /// One of them whole
    Show(Show),
}

/// `list`
#[derive(Debug, Args)]
struct List {
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    ty: Option<String>,
    /// At most this many; 0 = all
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only those listed after this one: the last id of the page before
    #[arg(long, value_name = "ID")]
    after: Option<Uuid>,
}

/// `show ID`
#[derive(Debug, Args)]
struct Show {
    /// The id as `list` shows it
    id: Uuid,
}

impl Parked {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags { file, store: self.store.store.as_deref(), ..Flags::default() })?;
        let store = node::open_current_store(&config).await?;
        let text = match &self.command {
            Command::List(list) => list.run(&store, self.output).await?,
            Command::Show(show) => show.run(&store, self.output).await?,
        };
        print_line(&text);
        store.close().await;
        Ok(())
    }
}

impl List {
    async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        if let Some(after) = self.after {
            // An empty page would look like the end of the list.
            one(store, after).await?;
        }
        let filter = ParkedFilter {
            event_type: self.ty.clone(),
            after: self.after.map(Hash16),
            limit: i64::from(self.limit),
            ..ParkedFilter::default()
        };
        let rows = store.parked(&filter).await?;
        Ok(match output {
            Output::Json => Value::Array(rows.iter().map(entry).collect()).to_string(),
            Output::Table => {
                let row = |row: &ParkedRow| {
                    let event = event(row);
                    let text = |get: fn(&CloudEvent) -> &str| {
                        event.as_ref().map_or_else(|| "?".to_owned(), |event| brief(get(event), CELL_CHARS_MAX))
                    };
                    vec![
                        row.parked.id.0.to_string(),
                        brief(&row.parked.event_type, CELL_CHARS_MAX),
                        text(|event| &event.id),
                        text(|event| &event.source),
                        rfc3339(row.parked_us),
                        rfc3339(row.parked.expires_us),
                    ]
                };
                let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
                table(&["ID", "TYPE", "EVENT", "SOURCE", "SINCE", "UNTIL"], &rows, Paint::stdout())
            }
        })
    }
}

impl Show {
    async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let row = one(store, self.id).await?;
        let event = event(&row);
        Ok(match output {
            Output::Json => {
                let mut json = entry(&row);
                json["event"] = event.and_then(|it| serde_json::from_str(&it.to_json()).ok()).unwrap_or_default();
                json.to_string()
            }
            Output::Table => {
                let line = event.map_or_else(|| "?".to_owned(), |event| live::line(&event, Paint::stdout()));
                format!("{line}\nkept since {} until {}", rfc3339(row.parked_us), rfc3339(row.parked.expires_us))
            }
        })
    }
}

async fn one(store: &Arc<dyn Store>, id: Uuid) -> Result<ParkedRow, Failure> {
    let filter = ParkedFilter { ids: vec![Hash16(id)], ..ParkedFilter::default() };
    store.parked(&filter).await?.pop().ok_or_else(|| {
        let what = format!("no event is kept under `{id}`: it was heard, it expired, or there never was one");
        Failure::new(Exit::NotFound, "FS-PARKED-UNKNOWN", what, "`flagstop parked list` shows the ids")
    })
}

fn event(row: &ParkedRow) -> Option<CloudEvent> {
    events::from_line(std::str::from_utf8(&row.parked.event).ok()?).ok()
}

/// For programs.
fn entry(row: &ParkedRow) -> Value {
    let event = event(row);
    json!({
        "id": row.parked.id.0.to_string(),
        "type": row.parked.event_type,
        "eventId": event.as_ref().map(|event| &event.id),
        "source": event.as_ref().map(|event| &event.source),
        "subject": event.as_ref().and_then(|event| event.subject.as_ref()),
        "since": rfc3339(row.parked_us),
        "until": rfc3339(row.parked.expires_us),
    })
}
