//! `use`: what is defined once under a name and referred to by it.
//!
//! An entry is compiled where it is used, with the variables of that place. What nobody uses is compiled at the end, so
//! that its mistakes are found too.

use std::collections::{BTreeMap, BTreeSet};

use super::compiler::{At, Compiler};
use super::keys::Keys;
use crate::diagnostic::{Diagnostic, suggestion};
use crate::duration;
use crate::expr::{self, Template};
use crate::resource::{Purpose, Resource};
use crate::source::{Key, Node, Span};
use crate::tasks;

/// The entries and which of them were used.
#[derive(Debug, Default)]
pub(crate) struct Named<'a> {
    entries: BTreeMap<(NamedOf, &'a str), Entry<'a>>,
    used: BTreeSet<(NamedOf, String)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    /// Of its name.
    span: Span,
    node: &'a Node,
}

/// The kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NamedOf {
    Errors,
    Retries,
    Timeouts,
    Functions,
    Catalogs,
    Authentications,
    Secrets,
}

const TIMEOUT: Keys = Keys { of: "`timeout`", known: &["after"], not_yet: &[] };
const AFTER: Keys = Keys { of: "`timeout.after`", known: &duration::PART_NAMES, not_yet: &[] };

impl NamedOf {
    /// Those that are mappings of names.
    pub(super) const MAPPINGS: [Self; 6] =
        [Self::Errors, Self::Retries, Self::Timeouts, Self::Functions, Self::Catalogs, Self::Authentications];

    /// Its key in `use`.
    const fn key(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Retries => "retries",
            Self::Timeouts => "timeouts",
            Self::Functions => "functions",
            Self::Catalogs => "catalogs",
            Self::Authentications => "authentications",
            Self::Secrets => "secrets",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Errors => "{ type: …, status: … }",
            Self::Retries => "{ delay: … }",
            Self::Timeouts => "{ after: … }",
            Self::Functions | Self::Catalogs | Self::Authentications | Self::Secrets => "…",
        }
    }
}

impl Named<'_> {
    /// Somebody uses it.
    pub(super) fn note(&mut self, of: NamedOf, name: &str) {
        self.used.insert((of, name.to_owned()));
    }

    fn is_unused(&self, of: NamedOf, name: &str) -> bool {
        !self.used.contains(&(of, name.to_owned()))
    }
}

impl<'a> Compiler<'a> {
    /// Takes in what `use` defines of one kind.
    pub(super) fn name_all(&mut self, of: NamedOf, used: &'a Node) {
        let Some(node) = used.get(of.key()) else { return };
        match node.as_map() {
            Some(entries) => {
                let entry = |(key, node): &'a (Key, Node)| ((of, &*key.text), Entry { span: key.span, node });
                self.named.entries.extend(entries.iter().map(entry));
            }
            None => self.wrong_type(node, &format!("`use.{}`", of.key()), "a mapping of names"),
        }
    }

    /// The entry of the name that this node is.
    pub(crate) fn named(&mut self, of: NamedOf, reference: &Node) -> Option<&'a Node> {
        let name = self.text(reference, "a name")?;
        if let Some(entry) = self.named.entries.get(&(of, name)).copied() {
            self.named.note(of, name);
            return Some(entry.node);
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

    /// A secret's name in the list of those that can be read.
    pub(super) fn name_secret(&mut self, node: &'a Node) {
        if let Some(name) = self.text(node, "a secret's name") {
            self.secrets.push(name.to_owned());
            self.named.entries.insert((NamedOf::Secrets, name), Entry { span: node.span, node });
        }
    }

    /// The function of this name.
    pub(super) fn named_function(&mut self, name: &str) -> Option<(Key, &'a Node)> {
        let Entry { span, node } = *self.named.entries.get(&(NamedOf::Functions, name))?;
        self.named.note(NamedOf::Functions, name);
        Some((Key { text: name.into(), span }, node))
    }

    pub(super) fn unused_functions(&self) -> Vec<(Key, &'a Node)> {
        let entries = self
            .named
            .entries
            .iter()
            .filter(|((of, name), _)| *of == NamedOf::Functions && self.named.is_unused(*of, name));
        entries.map(|((_, name), Entry { span, node })| (Key { text: (*name).into(), span: *span }, *node)).collect()
    }

    pub(super) fn function_names(&self) -> impl Iterator<Item = &'a str> {
        self.named.entries.keys().filter(|(of, _)| *of == NamedOf::Functions).map(|(_, name)| *name)
    }

    /// Finds the mistakes of what nobody uses, and tells that nobody does.
    pub(super) fn check_unused(&mut self) {
        let unused: Vec<(NamedOf, &str, Entry<'_>)> = self
            .named
            .entries
            .iter()
            .filter(|((of, name), _)| self.named.is_unused(*of, name))
            .map(|((of, name), entry)| (*of, *name, *entry))
            .collect();
        for (of, _, Entry { node, .. }) in &unused {
            match of {
                NamedOf::Authentications => drop(self.named_authentication(node)),
                NamedOf::Errors => tasks::check_unraised(node, self),
                NamedOf::Retries => tasks::check_unused_policy(node, self),
                NamedOf::Timeouts => {
                    self.inline_timeout(node, At::Definition);
                }
                // These were looked at where they stand.
                NamedOf::Functions | NamedOf::Catalogs | NamedOf::Secrets => {}
            }
        }
        // A mistake elsewhere may be why, and functions that were not fetched may use anything.
        let is_function = |missing: &Resource| missing.purpose == Purpose::Function;
        if self.diagnostics.has_errors() || self.missing.iter().any(is_function) {
            return;
        }
        for (of, name, Entry { span, .. }) in unused.iter().filter(|(of, name, _)| self.named.is_unused(*of, name)) {
            let message = format!("nothing uses `{name}` of `use.{}`", of.key());
            self.diagnostics.push(Diagnostic::warning("FS-UNUSED", *span, message).with_hint("use it, or remove it"));
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
