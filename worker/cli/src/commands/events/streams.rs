//! `flagstop events quarantined` and `flagstop events release`: streams of events that were set aside because the broker finds
//! one of them wrong, and their way back.

use std::sync::Arc;

use clap::{ArgGroup, Args};
use flagstop_schemas::InstanceId;
use flagstop_store::port::Store;
use flagstop_store::rows::Quarantined;
use serde_json::{Value, json};

use crate::args::Output;
use crate::commands::instances;
use crate::confirm::Consent;
use crate::exit::{Exit, Failure};
use crate::term::{Paint, table, tame};
use crate::time::rfc3339;

/// Streams that one transaction releases.
const CHUNK: usize = 500;

/// `quarantined`
#[derive(Debug, Args)]
pub struct List {
    /// At most this many, those that have waited longest; 0 = all
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// `release INSTANCE… | --all`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["instances", "all"]))]
pub struct Release {
    /// The instances' ids, their beginnings (of recent ones), or their business keys
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,
    /// All streams that are set aside
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    consent: Consent,
}

impl List {
    /// The list as text.
    pub async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let mut streams = store.quarantined(None).await?;
        if self.limit > 0 {
            streams.truncate(self.limit);
        }
        Ok(match output {
            Output::Json => Value::Array(streams.iter().map(stream_json).collect()).to_string(),
            Output::Table => {
                let row = |stream: &Quarantined| {
                    let revision = stream.revision.to_string();
                    vec![stream.instance.to_string(), revision, rfc3339(stream.since_us), tame(&stream.reason)]
                };
                let rows: Vec<Vec<String>> = streams.iter().map(row).collect();
                table(&["INSTANCE", "FROM REVISION", "SINCE", "REASON"], &rows, Paint::stdout())
            }
        })
    }
}

impl Release {
    /// Writes down that they are to be published again; a worker's relay does it.
    pub async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let streams = self.streams(store).await?;
        if streams.len() > 1 {
            self.consent.to(&format!("publish the withheld events of {} instances", streams.len()))?;
        }
        let mut released = 0;
        for chunk in streams.chunks(CHUNK) {
            released += store.release(chunk).await?;
        }
        Ok(match output {
            Output::Json => json!({ "released": released }).to_string(),
            Output::Table => format!(
                "{released} released: the workers publish what was withheld; `events quarantined` lists a stream until that is done"
            ),
        })
    }

    async fn streams(&self, store: &Arc<dyn Store>) -> Result<Vec<InstanceId>, Failure> {
        if self.all {
            return Ok(store.quarantined(None).await?.iter().map(|stream| stream.instance).collect());
        }
        let mut streams = Vec::new();
        for text in &self.instances {
            let id = instances::find_id(store, text).await?;
            if store.quarantined(Some(id)).await?.is_empty() {
                let what = format!("the events of instance {id} are not set aside");
                let hint = "`flagstop events quarantined` lists those that are";
                return Err(Failure::new(Exit::NotFound, "FS-STREAM-UNKNOWN", what, hint));
            }
            if !streams.contains(&id) {
                streams.push(id);
            }
        }
        Ok(streams)
    }
}

/// A stream in JSON, as lists and instances show it.
fn stream_json(stream: &Quarantined) -> Value {
    json!({
        "instance": stream.instance.to_string(),
        "revision": stream.revision,
        "since": rfc3339(stream.since_us),
        "reason": stream.reason,
    })
}
