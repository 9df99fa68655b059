//! The reader of definitions: YAML 1.2 (core schema; JSON is a subset) as a tree in which every node knows its place.
//!
//! Whatever the text, reading ends with a tree or with diagnostics: depth, size and the number of nodes (aliases
//! expanded) are limited, and nothing here recurses.

mod build;
mod scalar;

use crate::diagnostic::Diagnostics;
pub use crate::diagnostic::Span;
use crate::limits::Limits;
use std::sync::Arc;

/// A node of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it holds.
    pub value: NodeValue,
    /// Where it stands. What came by an alias stands where its anchor is.
    pub span: Span,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// An integer of 64 bits above those.
    UInt(u64),
    /// Any other number; finite.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in the order of the text, without duplicate keys.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping. Always text: `on`, `1` and `true` are keys like any other.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key.
    pub text: Arc<str>,
    /// Where it stands.
    pub span: Span,
}

/// Reads a definition's text.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Node, Diagnostics> {
    build::read(bytes, limits)
}

impl Node {
    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The entries, if this is a mapping.
    pub fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            NodeValue::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            NodeValue::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The integer, if this is one: `3.0` is, as in JSON Schema.
    pub fn as_int(&self) -> Option<i64> {
        /// Below this every integer is a float of its own (2^53).
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        match self.value {
            NodeValue::Int(number) => Some(number),
            NodeValue::Float(number) if number.fract() == 0.0 && number.abs() < EXACT_MAX => Some(number as i64),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            NodeValue::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The key, with its place, and its value.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        self.as_map()?.iter().find(|(name, _)| &*name.text == key).map(|(name, node)| (name, node))
    }

    /// What it is, for messages: `a string`, `a mapping` …
    pub fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::Null => "null",
            NodeValue::Bool(_) => "a boolean",
            NodeValue::Int(_) | NodeValue::UInt(_) | NodeValue::Float(_) => "a number",
            NodeValue::Str(_) => "a string",
            NodeValue::Seq(items) if items.is_empty() => "an empty list",
            NodeValue::Map(entries) if entries.is_empty() => "an empty mapping",
            NodeValue::Seq(_) => "a list",
            NodeValue::Map(_) => "a mapping",
        }
    }
}

#[cfg(test)]
mod tests;
