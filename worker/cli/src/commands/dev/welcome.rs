//! What `dev` says when it is ready: what is deployed, how to publish, how to stop.

use super::me;
use super::serve::Plan;
use crate::config::{Config, shown_url};
use crate::definitions::Checked;
use crate::demo::script::Event;
use crate::exit::Failure;
use crate::term::{Paint, Style};

/// Prints it; `base` is the address that takes events.
pub fn print(plan: &Plan<'_>, checked: &[Checked], base: Option<&str>, config: &Config) -> Result<(), Failure> {
    let paint = Paint::stderr();
    let (store, bus) = (shown_url(config.store_url()?), shown_url(config.bus_url()?));
    eprintln!("{} {} (store {store}, bus {bus})", paint.on(Style::Name, "flagstop dev:"), plan.dev.dir.display());
    for definition in checked.iter().filter_map(|file| file.plan.as_ref()) {
        let it = definition.reference();
        let types: Vec<&str> = definition.triggers().iter().filter_map(|t| t.event_type()).collect();
        let starts = if types.is_empty() { String::new() } else { format!("   started by {}", types.join(", ")) };
        let name = format!("{}/{} {}", it.namespace, it.name, it.version);
        eprintln!("  deployed {}{starts}", paint.on(Style::Good, &name));
    }
    if let Some(base) = base {
        eprintln!("  events are taken at POST {base}/events; in another terminal:");
        for example in examples(plan, checked) {
            eprintln!("    {}", paint.on(Style::Hint, &format!("{} publish --http {base} {example}", me())));
        }
    }
    eprintln!("  Ctrl-C stops; what waits goes on at the next start\n");
    Ok(())
}

/// Flags of `publish`: the demonstration's own events, or what the definitions are started by.
fn examples(plan: &Plan<'_>, checked: &[Checked]) -> Vec<String> {
    match plan.script {
        Some(script) => script.events().map(example).collect(),
        None => {
            let triggers = checked.iter().filter_map(|f| f.plan.as_ref()).flat_map(|plan| plan.triggers());
            triggers.filter_map(|t| t.event_type()).map(|ty| format!("--type {ty} --data '{{}}'")).collect()
        }
    }
}

fn example(event: &Event) -> String {
    // A single quote ends the shell's quoting: close it, write one, open it again.
    let quoted = |data: &serde_json::Value| data.to_string().replace('\'', r"'\''");
    let data = event.data.as_ref().map(|data| format!(" --data '{}'", quoted(data))).unwrap_or_default();
    format!("--type {}{data}", event.ty)
}
