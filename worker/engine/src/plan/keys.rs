//! Which keys a mapping of the definition may have, and what is said about the others.

use crate::diagnostic::{Diagnostic, suggestion};
use crate::source::{Key, Node};

use super::compiler::Compiler;

/// The keys of one kind of mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// What the mapping is, for messages: `a wait task`.
    pub(crate) of: &'static str,
    pub(crate) known: &'static [&'static str],
    /// Of the specification, but not of this build.
    pub(crate) not_yet: &'static [&'static str],
}

/// Authors' own keys begin with this and are not looked into.
pub(crate) const OWN_PREFIX: &str = "x-";

/// Expressions and schemas aside, a key that nobody knows is a mistake at every level.
impl Compiler<'_> {
    /// The entries of a mapping whose keys are all known; reports what is not.
    pub(crate) fn mapping<'n>(&mut self, node: &'n Node, keys: Keys) -> Option<&'n [(Key, Node)]> {
        let Some(entries) = node.as_map() else {
            self.wrong_type(node, keys.of, "a mapping");
            return None;
        };
        self.check_keys(entries, keys.of, &[keys.known], keys.not_yet);
        Some(entries)
    }

    pub(crate) fn check_keys(&mut self, entries: &[(Key, Node)], of: &str, known: &[&[&str]], not_yet: &[&str]) {
        let is_known = |name: &str| known.iter().any(|known| known.contains(&name));
        for (key, _) in entries {
            let name = &*key.text;
            if is_known(name) || name.starts_with(OWN_PREFIX) {
                continue;
            }
            if not_yet.contains(&name) {
                self.not_yet(key.span, &format!("this build cannot run `{name}` of {of} yet"));
            } else {
                let names = known.iter().copied().flatten().chain(not_yet).copied();
                self.push(
                    Diagnostic::error("FS-UNKNOWN-KEY", key.span, format!("`{name}` is no key of {of}"))
                        .with_hint(suggestion(name, names)),
                );
            }
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn required<'n>(&mut self, node: &'n Node, key: &str, of: &str) -> Option<&'n Node> {
        let found = node.get(key);
        if found.is_none() && node.as_map().is_some() {
            self.push(
                Diagnostic::error("FS-MISSING-KEY", node.span, format!("{of} needs `{key}`"))
                    .with_hint(format!("add `{key}:`")),
            );
        }
        found
    }

    /// The text of a key's value, which must be a string.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = node.as_str();
        if text.is_none() {
            self.wrong_type(node, what, "a string");
        }
        text
    }

    pub(crate) fn wrong_type(&mut self, node: &Node, what: &str, wanted: &str) {
        self.push(Diagnostic::error(
            "FS-WRONG-TYPE",
            node.span,
            format!("{what} must be {wanted}, but is {}", node.kind()),
        ));
    }

    pub(crate) fn not_yet(&mut self, span: crate::source::Span, message: &str) {
        self.push(
            Diagnostic::error("FS-NOT-YET", span, message)
                .with_hint("it is part of the language and comes with a later build"),
        );
    }
}
