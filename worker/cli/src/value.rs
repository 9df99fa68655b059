//! From the engine's values to plain JSON, for files and for output.

use flagstop_engine::{Limits, source, value};

/// Reads a small YAML or JSON document that is no definition. The error is the whole report, with its place.
pub fn yaml(text: &[u8], shown: &str) -> Result<serde_json::Value, String> {
    let node = source::read(text, &Limits::default())
        .map_err(|diagnostics| diagnostics.render(shown, &String::from_utf8_lossy(text)))?;
    Ok(plain(&value::from_node(&node)))
}

/// An engine's value as plain JSON.
pub fn plain(value: &value::Value) -> serde_json::Value {
    value::to_serde(value)
}
