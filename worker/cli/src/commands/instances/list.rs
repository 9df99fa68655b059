//! `flagstop instances list`

use std::sync::Arc;

use clap::Args;
use flagstop_schemas::InstanceId;
use flagstop_store::port::{InstanceFilter, Store};
use serde_json::Value;
use uuid::Uuid;

use super::filter::Filter;
use super::read::{self, Definitions, waiting_text};
use crate::args::Output;
use crate::exit::Failure;
use crate::term::{Paint, brief, table};
use crate::time::rfc3339;

/// Characters of a cell that a table shows.
const CELL_CHARS_MAX: usize = 60;

/// `list`
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    filter: Filter,
    /// At most this many; 0 = all
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only those listed after this instance: the last id of the page before
    #[arg(long, value_name = "ID")]
    after: Option<Uuid>,
}

impl List {
    /// The list as text.
    pub async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let mut definitions = Definitions::load(store).await?;
        let filter = InstanceFilter {
            limit: i64::from(self.limit),
            after: self.after.map(InstanceId),
            ..self.filter.of_store(&definitions)?
        };
        if let Some(after) = filter.after
            && store.instance(after).await?.is_none()
        {
            // An empty page would look like the end of the list.
            return Err(read::unknown(&after.to_string()));
        }
        let summaries = store.list_instances(&filter).await?;
        let mut records = Vec::with_capacity(summaries.len());
        for summary in summaries {
            records.push(definitions.record(store, summary).await?);
        }
        Ok(match output {
            Output::Json => Value::Array(records.iter().map(|record| record.json()).collect()).to_string(),
            Output::Table => {
                let rows: Vec<Vec<String>> = records
                    .iter()
                    .map(|record| {
                        vec![
                            record.summary.id.to_string(),
                            record.definition(),
                            brief(record.summary.business_key.as_deref().unwrap_or("-"), CELL_CHARS_MAX),
                            match (&record.summary.aside, &record.quarantined) {
                                (Some(_), _) => format!("{}, set aside", record.status()),
                                (None, Some(_)) => format!("{}, events held back", record.status()),
                                (None, None) => record.status().to_owned(),
                            },
                            rfc3339(record.summary.updated_us),
                            record
                                .waiting
                                .first()
                                .map_or_else(|| "-".into(), |w| brief(&waiting_text(w), CELL_CHARS_MAX)),
                        ]
                    })
                    .collect();
                table(&["ID", "DEFINITION", "KEY", "STATUS", "UPDATED", "WAITING FOR"], &rows, Paint::stdout())
            }
        })
    }
}
