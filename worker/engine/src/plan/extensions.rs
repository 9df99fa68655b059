//! `use.extensions`: what runs before and after tasks of some type.

use super::compiler::{At, Compiler};
use super::keys::Keys;
use super::{BlockIndex, BlockKind, Extension};
use crate::diagnostic::{Diagnostic, suggestion};
use crate::pointer::Pointer;
use crate::source::{Key, Node};

/// The extensions of a definition while its tasks are compiled.
#[derive(Debug, Default)]
pub(crate) struct Extensions<'a> {
    found: Vec<Found<'a>>,
    /// What is compiled stands in one, which nothing extends.
    inside: Inside,
}

#[derive(Debug)]
struct Found<'a> {
    extends: &'a str,
    node: &'a Node,
    pointer: Pointer,
}

/// Whether what is compiled stands in an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Inside {
    #[default]
    No,
    Yes,
}

const EXTENSION: Keys = Keys { of: "an extension", known: &["extend", "when", "before", "after"], not_yet: &[] };
/// What can be extended: the keys of task types, and words for several of them.
const TARGETS: [&str; 12] =
    ["call", "composite", "emit", "for", "listen", "raise", "run", "set", "switch", "try", "wait", "all"];
/// The types that only hold other tasks.
const COMPOSITE: [&str; 2] = ["do", "fork"];

impl Extensions<'_> {
    /// The numbers of those that extend tasks with this key.
    pub(super) fn of(&self, key: &str) -> Vec<u32> {
        if self.inside == Inside::Yes {
            return Vec::new();
        }
        let extends = |found: &Found<'_>| match found.extends {
            "all" => true,
            "composite" => COMPOSITE.contains(&key),
            target => target == key,
        };
        let numbered = (0..).zip(&self.found).filter(|(_, found)| extends(found));
        numbered.map(|(number, _)| number).collect()
    }

    /// What is compiled next may be run from anywhere; gives what to [`Extensions::enter_again`] afterwards.
    pub(super) fn leave(&mut self) -> Inside {
        std::mem::take(&mut self.inside)
    }

    pub(super) fn enter_again(&mut self, inside: Inside) {
        self.inside = inside;
    }
}

impl<'a> Compiler<'a> {
    /// Takes in which extensions there are: tasks are compiled with what extends them.
    pub(super) fn name_extensions(&mut self, node: &'a Node) {
        let Some(items) = node.as_seq() else {
            self.wrong_type(node, "`use.extensions`", "a list of names with their extensions");
            return;
        };
        let mut names: Vec<&str> = Vec::new();
        for (position, item) in items.iter().enumerate() {
            let Some([(key, extension)]) = item.as_map() else {
                self.error(
                    "FS-WRONG-TYPE",
                    item,
                    "an extension must be a mapping of one name to the extension",
                    "write `- name:` and below it `extend`, `before` and `after`",
                );
                continue;
            };
            if names.contains(&&*key.text) {
                let twice = format!("two extensions are named `{}`", key.text);
                self.push(Diagnostic::error("FS-DUPLICATE-NAME", key.span, twice).with_hint("give each its own name"));
            }
            names.push(&key.text);
            self.name_extension(key, extension, position);
        }
    }

    fn name_extension(&mut self, key: &'a Key, node: &'a Node, position: usize) {
        if self.mapping(node, EXTENSION).is_none() {
            return;
        }
        let Some(extend) = self.required(node, "extend", EXTENSION.of) else { return };
        let Some(extends) = self.text(extend, "`extend`") else { return };
        if !TARGETS.contains(&extends) {
            let message = format!("`{extends}` is nothing that can be extended");
            self.error("FS-VALUE", extend, message, &suggestion(extends, TARGETS));
        }
        let pointer = Pointer::root().child("use").child("extensions").index(position).child(&key.text);
        self.extensions.found.push(Found { extends, node, pointer });
    }

    /// Compiles what the extensions run.
    pub(super) fn extensions(&mut self) -> Vec<Extension> {
        self.extensions.inside = Inside::Yes;
        let found = std::mem::take(&mut self.extensions.found);
        let extensions = found.iter().map(|found| self.extension(found)).collect();
        self.extensions = Extensions { found, inside: Inside::No };
        extensions
    }

    fn extension(&mut self, Found { node, pointer, .. }: &Found<'a>) -> Extension {
        let mut list = |key: &str| -> Option<BlockIndex> {
            let list = node.get(key)?;
            self.block(list, &pointer.child(key), BlockKind::Extension)
        };
        let (before, after) = (list("before"), list("after"));
        let when = node.get("when").and_then(|when| self.condition(when, "`when`", At::Condition));
        Extension { when, before, after }
    }
}
