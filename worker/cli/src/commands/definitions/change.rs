//! `flagstop definitions disable` and `enable`

use std::sync::Arc;

use flagstop_store::port::{Enabled, Store};
use serde_json::json;

use super::Many;
use super::read::{self, Entry};
use crate::args::Output;
use crate::exit::Failure;

/// Changes them, and shows how all versions of the name are afterwards. The workers hear of it within a second, and before
/// they judge the next event.
pub async fn run(store: &Arc<dyn Store>, many: &Many, to: Enabled, output: Output) -> Result<String, Failure> {
    let found = read::find(store, &many.which).await?;
    let enabled = to == Enabled::Yes;
    let to_change: Vec<&Entry> = found.iter().filter(|entry| entry.row.enabled != enabled).collect();
    if to_change.len() > 1 {
        let verb = if enabled { "enable" } else { "disable" };
        many.consent.to(&format!("{verb} {} versions of {}", to_change.len(), many.which.name))?;
    }
    let numbers: Vec<_> = to_change.iter().map(|entry| entry.row.number).collect();
    if !numbers.is_empty() {
        store.enable(&numbers, to).await?;
    }
    let all = super::Which { name: many.which.name.clone(), version: None };
    let after = read::find(store, &all).await?;
    Ok(match output {
        Output::Json => {
            let definitions: Vec<_> = after.iter().map(Entry::json).collect();
            json!({ "changed": numbers.len(), "definitions": definitions }).to_string()
        }
        Output::Table => {
            let lines: Vec<String> = after.iter().map(|entry| format!("{}  {}", entry.name(), entry.state())).collect();
            lines.join("\n")
        }
    })
}
