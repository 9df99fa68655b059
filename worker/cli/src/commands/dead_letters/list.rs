//! `flagstop dead-letters list`

use std::sync::Arc;

use clap::Args;
use flagstop_schemas::Hash16;
use flagstop_store::port::{LetterFilter, Store};
use serde_json::Value;
use uuid::Uuid;

use super::read;
use crate::args::Output;
use crate::exit::Failure;
use crate::term::{Paint, brief, table};
use crate::time::rfc3339;

/// Characters of a reason that a table shows.
const REASON_CHARS_MAX: usize = 80;

/// `list`
#[derive(Debug, Args)]
pub struct List {
    /// Only letters with this code, such as FS-EVENT-NOT-CLOUDEVENT
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// At most this many; 0 = all
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only those listed after this letter: the last id of the page before
    #[arg(long, value_name = "ID")]
    after: Option<Uuid>,
}

impl List {
    /// The list as text.
    pub async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        if let Some(after) = self.after {
            // An empty page would look like the end of the list.
            read::find(store, &after.to_string()).await?;
        }
        let filter =
            LetterFilter { code: self.code.clone(), after: self.after.map(Hash16), limit: i64::from(self.limit) };
        let letters = store.list_dead_letters(&filter).await?;
        Ok(match output {
            Output::Json => Value::Array(letters.iter().map(read::json).collect()).to_string(),
            Output::Table => {
                let rows: Vec<Vec<String>> = letters
                    .iter()
                    .map(|letter| {
                        vec![
                            letter.id.0.to_string(),
                            rfc3339(letter.at_us),
                            letter.code.clone(),
                            if letter.redriven_us.is_some() { "yes".into() } else { "-".into() },
                            brief(&letter.origin, REASON_CHARS_MAX),
                            brief(&letter.reason, REASON_CHARS_MAX),
                        ]
                    })
                    .collect();
                table(&["ID", "AT", "CODE", "REDRIVEN", "ORIGIN", "REASON"], &rows, Paint::stdout())
            }
        })
    }
}
