//! Events as expectations name them.

use flagstop_engine::api::Value;
use flagstop_engine::source::Node;
use flagstop_engine::value;
use flagstop_schemas::{CloudEvent, Data};

use super::reader::Reader;

impl Reader<'_> {
    /// A list of events, of which any attributes are named.
    pub(super) fn event_patterns(&mut self, node: &Node, what: &str) -> Option<Vec<Value>> {
        let items = self.list(node, what)?;
        let mut patterns = Vec::new();
        for item in items {
            if self.entries(item, &format!("an entry of {what}")).is_some() {
                patterns.push(value::from_node(item));
            }
        }
        Some(patterns)
    }
}

/// An event in its JSON form, data as a value.
pub(super) fn to_value(event: &CloudEvent) -> Value {
    let text = event.to_json();
    let whole = serde_json::from_str::<serde_json::Value>(&text).map(|whole| value::from_serde(&whole));
    whole.unwrap_or(Value::Null)
}

/// The data as JSON text, for the log.
pub(super) fn data_text(event: &CloudEvent) -> String {
    match &event.data {
        Data::Absent => String::new(),
        Data::Json(text) => String::from_utf8_lossy(text).into_owned(),
        Data::Binary(bytes) => format!("{} bytes", bytes.len()),
    }
}
