//! `flagstop instances list`

use std::sync::Arc;

use clap::Args;
use flagstop_schemas::InstanceId;
use flagstop_store::port::{InstanceFilter, Store};
use serde_json::Value;
use uuid::Uuid;

use super::read::{self, Definitions, PHASES, waiting_text};
use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::term::{Paint, brief, table};
use crate::time::{length, now_us, rfc3339};

/// Characters of a cell that a table shows.
const CELL_CHARS_MAX: usize = 60;

/// `list`
#[derive(Debug, Args)]
pub struct List {
    /// Only instances in these phases, separated by commas: pending, running, waiting, suspended, cancelled, faulted,
    /// completed
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Only instances of this definition: `namespace/name`, all versions, or `namespace/name@version`
    #[arg(long, value_name = "NAMESPACE/NAME[@VERSION]")]
    definition: Option<String>,
    /// Only instances with this business key
    #[arg(long, value_name = "KEY")]
    business_key: Option<String>,
    /// Only instances that were created longer ago than this: 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = length)]
    older_than: Option<i64>,
    /// Only instances that have not moved for this long: 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = length)]
    idle_for: Option<i64>,
    /// Only instances whose error has this text in it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only instances that were set aside because they ended their workers
    #[arg(long)]
    aside: bool,
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
        let wanted = match &self.definition {
            Some(text) => definitions.numbers(text)?,
            None => Vec::new(),
        };
        let before = |length_us: Option<i64>| length_us.map(|length_us| now_us() - length_us);
        let filter = InstanceFilter {
            statuses: self.status.iter().map(|name| phase(name)).collect::<Result<_, _>>()?,
            definitions: wanted,
            business_key: self.business_key.clone(),
            error: self.error.clone(),
            created_before_us: before(self.older_than),
            updated_before_us: before(self.idle_for),
            aside: self.aside,
            limit: i64::from(self.limit),
            after: self.after.map(InstanceId),
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
                            record.status().to_owned(),
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

fn phase(name: &str) -> Result<i16, Failure> {
    let found = PHASES.iter().find(|(_, n)| n.eq_ignore_ascii_case(name));
    found.map(|(phase, _)| *phase as i16).ok_or_else(|| {
        let known = PHASES.map(|(_, name)| name).join(", ");
        Failure::new(Exit::Invalid, "FS-STATUS", format!("there is no status `{name}`"), format!("one of: {known}"))
    })
}
