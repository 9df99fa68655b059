//! `use`: what is defined once under a name and referred to by it.
//!
//! An entry is compiled where it is used, with the variables of that place. What nobody uses is compiled at the end, so
//! that its mistakes are found too.

use std::collections::{BTreeMap, BTreeSet};

use super::compiler::{At, Compiler};
use super::keys::Keys;
use crate::diagnostic::suggestion;
use crate::duration;
use crate::expr::{self, Template};
use crate::source::Node;
use crate::tasks;

/// The entries and which of them were used.
#[derive(Debug, Default)]
pub(crate) struct Named<'a> {
    entries: BTreeMap<(NamedOf, &'a str), &'a Node>,
    used: BTreeSet<(NamedOf, String)>,
}

/// The kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NamedOf {
    Errors,
    Retries,
    Timeouts,
}

const TIMEOUT: Keys = Keys { of: "`timeout`", known: &["after"], not_yet: &[] };
const AFTER: Keys = Keys { of: "`timeout.after`", known: &duration::PART_NAMES, not_yet: &[] };

impl NamedOf {
    pub(super) const ALL: [Self; 3] = [Self::Errors, Self::Retries, Self::Timeouts];

    /// Its key in `use`.
    const fn key(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Retries => "retries",
            Self::Timeouts => "timeouts",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Errors => "{ type: …, status: … }",
            Self::Retries => "{ delay: … }",
            Self::Timeouts => "{ after: … }",
        }
    }
}

impl<'a> Compiler<'a> {
    /// Takes in what `use` defines of one kind.
    pub(super) fn name_all(&mut self, of: NamedOf, used: &'a Node) {
        let Some(node) = used.get(of.key()) else { return };
        match node.as_map() {
            Some(entries) => {
                self.named.entries.extend(entries.iter().map(|(key, entry)| ((of, &*key.text), entry)));
            }
            None => self.wrong_type(node, &format!("`use.{}`", of.key()), "a mapping of names"),
        }
    }

    /// The entry of the name that this node is.
    pub(crate) fn named(&mut self, of: NamedOf, reference: &Node) -> Option<&'a Node> {
        let name = self.text(reference, "a name")?;
        if let Some(entry) = self.named.entries.get(&(of, name)) {
            self.named.used.insert((of, name.to_owned()));
            return Some(entry);
        }
        let (key, example) = (of.key(), of.example());
        let mut known = self.named.entries.keys().filter(|(kind, _)| *kind == of).map(|(_, name)| *name).peekable();
        let hint = match known.peek() {
            _ if expr::holds_expression(name) => format!("write it out here, with expressions in it: `{example}`"),
            None => format!("define it: `use: {{ {key}: {{ {name}: {example} }} }}`"),
            Some(_) => suggestion(name, known),
        };
        self.error("FS-UNKNOWN-NAME", reference, format!("`use.{key}` defines no `{name}`"), &hint);
        None
    }

    /// Finds the mistakes of what nobody uses.
    pub(super) fn check_unused(&mut self) {
        let is_unused = |(of, name): &(NamedOf, &str)| !self.named.used.contains(&(*of, (*name).to_owned()));
        let unused: Vec<(NamedOf, &Node)> = self
            .named
            .entries
            .iter()
            .filter(|(name, _)| is_unused(name))
            .map(|((of, _), entry)| (*of, *entry))
            .collect();
        for (of, entry) in unused {
            match of {
                NamedOf::Errors => tasks::check_unraised(entry, self),
                NamedOf::Retries => tasks::check_unused_policy(entry, self),
                NamedOf::Timeouts => {
                    self.inline_timeout(entry, At::Definition);
                }
            }
        }
    }

    /// `timeout`: after how long something is cut, inline or by its name.
    pub(super) fn timeout(&mut self, node: &Node, at: At) -> Option<Template> {
        match node.as_str() {
            Some(_) => {
                let named = self.named(NamedOf::Timeouts, node)?;
                self.inline_timeout(named, at)
            }
            None => self.inline_timeout(node, at),
        }
    }

    fn inline_timeout(&mut self, node: &Node, at: At) -> Option<Template> {
        self.mapping(node, TIMEOUT)?;
        let after = self.required(node, "after", TIMEOUT.of)?;
        self.duration_at(after, AFTER, at)
    }
}
