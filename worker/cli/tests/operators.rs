//! What operators do: look at definitions, instances, events and letters, and set things right.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

#[path = "operators/definitions.rs"]
mod definitions;
#[path = "operators/events.rs"]
mod events;
#[path = "operators/instances.rs"]
mod instances;
#[path = "operators/letters.rs"]
mod letters;

use serde_json::Value;
use support::Folder;

/// Repeats a command until its output is as it must be: what is accepted is carried out a moment later.
fn eventually(folder: &Folder, arguments: &[&str], schema: &str, is_done: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let shown = folder.flagstop(arguments).exits(0).json(schema);
        if is_done(&shown) {
            return shown;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{arguments:?} never shows what it must; at last:\n{}", folder.flagstop(arguments).stdout);
}

/// Publishes one event over HTTP.
fn publish(folder: &Folder, address: &str, ty: &str, id: &str, data: &str) {
    folder.flagstop(&["publish", "--http", address, "--type", ty, "--id", id, "--data", data]).exits(0);
}
