//! The shape of a mapping as a table: which keys, of which kinds, which of them must be there.
//!
//! For parts of the language that are checked and not run. What is run has its own model, which checks while it compiles.

use super::compiler::{At, Compiler};
use super::endpoint::Endpoint;
use super::keys::Keys;
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::expr;
use crate::source::Node;

/// A mapping.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) keys: Keys,
    /// In the order of `keys.known`.
    pub(crate) shapes: &'static [Shape],
    pub(crate) required: &'static [&'static str],
    /// Of each group exactly one must be there.
    pub(crate) exactly_one: &'static [&'static [&'static str]],
}

/// What stands under a key. Texts and values may be expressions, where nothing else is said.
#[derive(Debug)]
pub(crate) enum Shape {
    Text,
    /// Always jq, `${ }` or not.
    Condition,
    Choice(&'static [&'static str]),
    /// A whole number of this range.
    Number(i64, i64),
    /// The name of a host.
    Host,
    /// A mapping, or an expression that becomes one.
    Mapping,
    TextMapping,
    Texts,
    Duration,
    Endpoint,
    Resource,
    Authentication,
    Object(&'static Object),
    /// Checked by whoever knows more.
    Elsewhere,
}

const RESOURCE: Object = Object {
    keys: Keys { of: "an external resource", known: &["name", "endpoint"], not_yet: &[] },
    shapes: &[Shape::Text, Shape::Endpoint],
    required: &["endpoint"],
    exactly_one: &[],
};
const DURATION: Keys = Keys { of: "a duration", known: &duration::PART_NAMES, not_yet: &[] };

impl Compiler<'_> {
    /// Reports all that is wrong in a mapping.
    pub(crate) fn check_object(&mut self, node: &Node, object: &Object) {
        if self.mapping(node, object.keys).is_none() {
            return;
        }
        for key in object.required {
            self.required(node, key, object.keys.of);
        }
        for group in object.exactly_one {
            let given: Vec<&str> = group.iter().copied().filter(|key| node.get(key).is_some()).collect();
            let all = group.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            match given[..] {
                [_] => {}
                [] => {
                    let message = format!("{} needs one of {all}", object.keys.of);
                    self.push(Diagnostic::error("FS-MISSING-KEY", node.span, message).with_hint("add one of them"));
                }
                [_, second, ..] => {
                    let span = node.entry(second).map_or(node.span, |(key, _)| key.span);
                    let message = format!("{} has only one of {all}", object.keys.of);
                    self.push(Diagnostic::error("FS-VALUE", span, message).with_hint("keep one of them"));
                }
            }
        }
        for (key, shape) in object.keys.known.iter().zip(object.shapes) {
            if let Some(found) = node.get(key) {
                self.check_shape(found, key, shape);
            }
        }
    }

    fn check_shape(&mut self, node: &Node, key: &str, shape: &Shape) {
        let what = format!("`{key}`");
        match shape {
            Shape::Elsewhere => {}
            Shape::Text => {
                if self.text(node, &what).is_some() {
                    self.template(node, At::Definition);
                }
            }
            Shape::Condition => drop(self.jq(node, &what, At::Definition)),
            Shape::Choice(allowed) => drop(self.one_of(node, &what, allowed)),
            Shape::Number(min, max) => match node.as_int() {
                Some(number) if (i128::from(*min)..=i128::from(*max)).contains(&i128::from(number)) => {}
                _ => self.wrong_type(node, &what, &format!("a whole number from {min} to {max}")),
            },
            Shape::Host => {
                if let Some(text) = self.text(node, &what)
                    && !is_host(text)
                {
                    let message = format!("`{text}` is no name of a host");
                    self.error("FS-VALUE", node, message, "write the name alone, such as `example.com`");
                }
            }
            Shape::Mapping => match node.as_map().is_some() || node.as_str().is_some_and(expr::is_expression) {
                true => drop(self.template(node, At::Definition)),
                false => self.wrong_type(node, &what, "a mapping or an expression `${ … }`"),
            },
            Shape::TextMapping => match node.as_map() {
                Some(entries) => {
                    for (key, item) in entries {
                        self.check_shape(item, &key.text, &Shape::Text);
                    }
                }
                None => self.wrong_type(node, &what, "a mapping of texts"),
            },
            Shape::Texts => match node.as_seq() {
                Some(items) => items.iter().for_each(|item| self.check_shape(item, key, &Shape::Text)),
                None => self.wrong_type(node, &what, "a list of texts"),
            },
            Shape::Duration => drop(self.duration(node, DURATION)),
            Shape::Endpoint => drop(Endpoint::compile(node, self)),
            Shape::Resource => self.check_object(node, &RESOURCE),
            Shape::Authentication => drop(self.authentication(node)),
            Shape::Object(object) => self.check_object(node, object),
        }
    }
}

/// As the specification's schema has it.
fn is_host(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (1..=63).contains(&text.len())
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}
