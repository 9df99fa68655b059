//! `flagstop definitions show`

use std::sync::Arc;

use flagstop_engine::{Bundle, EventUse, Limits, Plan};
use flagstop_store::port::Store;

use super::Which;
use super::read::{self, Entry};
use crate::args::Output;
use crate::exit::Failure;
use crate::term::{Paint, Style, tame};
use crate::time::rfc3339;

/// The definition as text. Without a version it is the one that takes new triggers, or the highest.
pub async fn run(store: &Arc<dyn Store>, which: &Which, output: Output) -> Result<String, Failure> {
    let found = read::find(store, which).await?;
    let entry = found.iter().find(|entry| entry.newest).unwrap_or(&found[0]);
    let row = &entry.row;
    let bundle = Bundle::decode(&row.bundle).unwrap_or_default();
    let plan = Plan::compile_with(&row.source, &bundle, &Limits::default()).ok();
    let traffic = plan.as_ref().map(Plan::traffic).unwrap_or_default();
    let clock: Vec<&str> =
        plan.iter().flat_map(|plan| plan.schedule().timed()).map(flagstop_engine::schedule::Timed::name).collect();
    let source = String::from_utf8_lossy(&row.source);
    if output == Output::Json {
        let mut json = entry.json();
        json["startsOn"] = types(&traffic.starts).into();
        json["clock"] = clock.into();
        json["listensTo"] = types(&traffic.listens).into();
        json["emits"] = types(&traffic.emits).into();
        json["source"] = source.into();
        return Ok(json.to_string());
    }
    Ok(people(
        entry,
        &[
            ("started by", types(&traffic.starts)),
            ("clock", clock.into_iter().map(str::to_owned).collect()),
            ("listens to", types(&traffic.listens)),
            ("emits", types(&traffic.emits)),
        ],
    ) + "\n\n"
        + source.trim_end())
}

fn people(entry: &Entry, lists: &[(&str, Vec<String>)]) -> String {
    let paint = Paint::stdout();
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| {
        lines.push(format!("{}  {}", paint.on(Style::Dim, &format!("{name:<10}")), tame(value)));
    };
    line("definition", &entry.name());
    line("triggers", entry.state());
    line("deployed", &rfc3339(entry.row.deployed_us));
    for (name, values) in lists.iter().filter(|(_, values)| !values.is_empty()) {
        line(name, &values.join(", "));
    }
    lines.join("\n")
}

/// The event types, each once; `any` where only an expression knows.
fn types(uses: &[EventUse]) -> Vec<String> {
    let mut types: Vec<String> = uses.iter().map(|used| used.event_type().unwrap_or("any").to_owned()).collect();
    types.sort();
    types.dedup();
    types
}
