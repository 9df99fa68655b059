//! `flagstop instances show`

use std::sync::Arc;

use flagstop_store::port::Store;
use serde_json::Value;

use super::read::{self, waiting_text};
use crate::args::Output;
use crate::exit::Failure;
use crate::term::{Paint, Style, tame};
use crate::time::rfc3339;
use crate::value::plain;

/// The instance as text.
pub async fn run(store: &Arc<dyn Store>, id: &str, output: Output) -> Result<String, Failure> {
    let record = read::find(store, id).await?;
    let (mut input, mut result, mut error, mut context) = (Value::Null, Value::Null, Value::Null, Value::Null);
    if let Some(instance) = &record.instance {
        input = plain(instance.input());
        result = instance.output().map(plain).unwrap_or_default();
        error = instance.error().map(|problem| plain(&problem.to_value())).unwrap_or_default();
        context = plain(instance.context());
    }
    if output == Output::Json {
        let mut json = record.json();
        json["input"] = input;
        json["context"] = context;
        if record.status() == "completed" {
            json["output"] = result;
        }
        if !error.is_null() {
            json["error"] = error;
        }
        return Ok(json.to_string());
    }
    let paint = Paint::stdout();
    let summary = &record.summary;
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() && value != "null" {
            lines.push(format!("{}  {}", paint.on(Style::Dim, &format!("{name:<10}")), tame(&value)));
        }
    };
    line("id", summary.id.to_string());
    line("definition", record.definition());
    line("key", summary.business_key.clone().unwrap_or_default());
    line("status", record.status().to_owned());
    line("revision", summary.revision.to_string());
    line("created", rfc3339(summary.created_us));
    line("updated", rfc3339(summary.updated_us));
    line("ended", summary.ended_us.map(rfc3339).unwrap_or_default());
    line("parent", summary.parent.map(|id| id.to_string()).unwrap_or_default());
    for wait in &record.waiting {
        line("waits for", format!("{} at {}", waiting_text(wait), wait.task));
    }
    line("events", record.quarantined.as_ref().map(|it| it.reason.clone()).unwrap_or_default());
    line("input", input.to_string());
    line("context", context.to_string());
    line("output", result.to_string());
    line("error", error.to_string());
    Ok(lines.join("\n"))
}
