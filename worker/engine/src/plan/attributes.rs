//! The attributes of CloudEvents that a definition writes down: in `emit` and in event filters.
//!
//! What no event can ever have is a mistake here, not a filter that stays silent or a task that faults.

use super::compiler::Compiler;
use crate::diagnostic::{Diagnostic, nearest};
use crate::expr;
use crate::source::{Key, Node, NodeValue};
use crate::uri_template::is_uri_reference;
use crate::value;

/// The attributes whose values are texts.
const TEXTS: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

impl Compiler<'_> {
    /// Checks one entry of `with`. `None`: what is wrong was reported.
    pub(crate) fn attribute(&mut self, key: &Key, wanted: &Node) -> Option<()> {
        let name = &*key.text;
        if !is_name(name) {
            let hint = match nearest(name, TEXTS.into_iter().chain(["data"])) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "lower-case letters and digits only, as CloudEvents wants it; the payload is `data`".to_owned(),
            };
            let found = Diagnostic::error("FS-VALUE", key.span, format!("`{name}` is no name of an attribute"));
            self.push(found.with_hint(hint));
            return None;
        }
        let allowed = match &wanted.value {
            _ if name == "data" => return Some(()),
            // Null leaves an attribute out; without this one nothing is an event.
            NodeValue::Null if name != "type" => return Some(()),
            NodeValue::Str(text) if name == "specversion" && text.trim() != "1.0" && !expr::holds_expression(text) => {
                self.error("FS-VALUE", wanted, "events are of CloudEvents 1.0", "leave `specversion` out");
                return None;
            }
            NodeValue::Str(text) => return self.attribute_text(name, wanted, text),
            _ if TEXTS.contains(&name) => "a string",
            NodeValue::Bool(_) => return Some(()),
            NodeValue::Int(_) | NodeValue::Float(_) if value::as_i64(&value::from_node(wanted)).is_some() => {
                return Some(());
            }
            _ => "a string, a whole number or a boolean",
        };
        self.wrong_type(wanted, &format!("the attribute `{name}`"), allowed);
        None
    }

    /// What CloudEvents asks of texts.
    fn attribute_text(&mut self, name: &str, wanted: &Node, text: &str) -> Option<()> {
        let (is_fine, rule) = match name {
            _ if expr::holds_expression(text) => return Some(()),
            "id" | "type" => (!text.is_empty(), "must not be empty"),
            "source" | "dataschema" => (is_uri_reference(text), "must be a URI: not empty, and without white space"),
            "time" => (text.parse::<jiff::Timestamp>().is_ok(), "must be a time such as 2026-01-01T00:00:00Z"),
            _ => return Some(()),
        };
        if !is_fine {
            let hint = "write it out, or put an expression into `${ }`";
            self.error("FS-VALUE", wanted, format!("the attribute `{name}` {rule}"), hint);
        }
        is_fine.then_some(())
    }
}

/// The names that the CloudEvents specification allows.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
