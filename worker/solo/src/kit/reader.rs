//! Reading a test file: every mistake with its place and how to mend it, all at once.

use flagstop_engine::api::Value;
use flagstop_engine::diagnostic::suggestion;
use flagstop_engine::source::{Key, Node, NodeValue};
use flagstop_engine::{Diagnostic, Diagnostics, Limits, Span, duration, value};

/// What is wrong is collected here; a reading method that gives `None` has reported why.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) limits: &'a Limits,
    pub(super) found: Diagnostics,
}

impl<'a> Reader<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { limits, found: Diagnostics::new() }
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found.push(Diagnostic::error(code, span, message).with_hint(hint));
    }

    pub(super) fn wrong_type(&mut self, node: &Node, what: &str, wanted: &str) {
        let message = format!("{what} must be {wanted}, but is {}", node.kind());
        self.error("FS-WRONG-TYPE", node.span, message, format!("write {wanted}"));
    }

    /// A mapping; keys that it must not have are reported.
    pub(super) fn mapping<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<&'n Node> {
        for (key, _) in self.entries(node, what)? {
            if !known.contains(&&*key.text) {
                let message = format!("unknown key `{}` in {what}", key.text);
                self.error("FS-UNKNOWN-KEY", key.span, message, suggestion(&key.text, known.iter().copied()));
            }
        }
        Some(node)
    }

    /// A mapping with any keys.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Key, Node)]> {
        let entries = node.as_map();
        if entries.is_none() {
            self.wrong_type(node, what, "a mapping");
        }
        entries
    }

    /// The value of a key that must be there.
    pub(super) fn required<'n>(&mut self, node: &'n Node, key: &str, what: &str) -> Option<&'n Node> {
        let found = node.get(key);
        if found.is_none() {
            let message = format!("{what} needs `{key}`");
            self.error("FS-MISSING-KEY", node.span, message, format!("add `{key}: …`"));
        }
        found
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        let items = node.as_seq();
        if items.is_none() {
            self.wrong_type(node, what, "a list");
        }
        items
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = node.as_str();
        if text.is_none() {
            self.wrong_type(node, what, "a string");
        }
        text
    }

    /// A text, or a number that stands for its text.
    pub(super) fn scalar(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            NodeValue::Str(text) => Some(text.to_string()),
            NodeValue::Int(_) | NodeValue::UInt(_) | NodeValue::Float(_) | NodeValue::Bool(_) => {
                Some(value::to_json(&value::from_node(node)))
            }
            _ => {
                self.wrong_type(node, what, "a string");
                None
            }
        }
    }

    pub(super) fn number(&mut self, node: &Node, what: &str, min: i64, max: i64) -> Option<i64> {
        let Some(number) = node.as_int() else {
            self.wrong_type(node, what, "a whole number");
            return None;
        };
        if !(min..=max).contains(&number) {
            let message = format!("{what} is {number}");
            self.error("FS-VALUE", node.span, message, format!("it must lie between {min} and {max}"));
            return None;
        }
        Some(number)
    }

    pub(super) fn one_of<'n>(&mut self, node: &'n Node, what: &str, allowed: &[&str]) -> Option<&'n str> {
        let text = self.text(node, what)?;
        if !allowed.contains(&text) {
            let message = format!("{what} can't be `{text}`");
            self.error("FS-VALUE", node.span, message, suggestion(text, allowed.iter().copied()));
            return None;
        }
        Some(text)
    }

    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<i64> {
        if node.as_str().is_none() && node.as_map().is_none() {
            self.wrong_type(node, what, "a duration");
            return None;
        }
        match duration::from_value(&value::from_node(node), self.limits.duration_days_max) {
            Ok(microseconds) => Some(microseconds),
            Err(why) => {
                let message = format!("{what}: {why}");
                self.error("FS-DURATION", node.span, message, "write `PT1H30M` or `{ hours: 1, minutes: 30 }`");
                None
            }
        }
    }

    /// A moment, as microseconds since 1970.
    pub(super) fn moment(&mut self, node: &Node, what: &str) -> Option<i64> {
        let text = self.text(node, what)?;
        match text.parse::<jiff::Timestamp>() {
            Ok(moment) => Some(moment.as_microsecond()),
            Err(_) => {
                let message = format!("{what} is no RFC 3339 time: `{text}`");
                self.error("FS-VALUE", node.span, message, "write it like `2026-01-01T00:00:00Z`");
                None
            }
        }
    }

    /// The entries of a mapping as values.
    pub(super) fn named_values(&mut self, node: &Node, what: &str) -> Vec<(String, Value)> {
        let entries = self.entries(node, what).unwrap_or_default();
        entries.iter().map(|(key, node)| (key.text.to_string(), value::from_node(node))).collect()
    }

    /// The items of a list, each a mapping of which only these keys are known.
    pub(super) fn mappings(&mut self, node: &Node, what: &str, of: &str, known: &[&str]) -> Option<Vec<Value>> {
        let items = self.list(node, what)?;
        let mut values = Vec::new();
        for item in items {
            if self.mapping(item, of, known).is_some() {
                values.push(value::from_node(item));
            }
        }
        Some(values)
    }
}
