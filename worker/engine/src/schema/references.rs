//! `$ref` inside of a schema: it may only lead into the schema itself, and never round in a circle.
//!
//! A schema may be recursive along the data (a tree's children are trees): the data ends. One that refers to itself at
//! the same place of the data never ends, and one whose references fan out takes for ever; both are refused here, because
//! whoever validates with them would hang or run out of stack.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::pointer;
use crate::source::{Node, NodeValue};

/// References that lead on at the same place of the data, one after the other.
const CHAIN_MAX: usize = 32;
/// Schemas that are looked at for one place of the data.
const EXPANDED_MAX: usize = 10_000;

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Keywords whose schemas are applied at the same place of the data.
const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SINGLE: [&str; 4] = ["not", "if", "then", "else"];
const BY_NAME: [&str; 2] = ["dependentSchemas", "dependencies"];

/// Reports what is wrong with the references of a schema.
pub(super) fn check(root: &Node, found: &mut Diagnostics) {
    let mut schemas = Vec::new();
    let mut anchors = HashMap::new();
    let before = found.len();
    collect(root, &mut schemas, &mut anchors, found);
    if found.len() > before {
        return;
    }
    let mut walk = Walk { root, anchors, weights: HashMap::new() };
    for schema in schemas {
        if let Err(why) = walk.weigh(schema) {
            found.push(
                Diagnostic::error("FS-SCHEMA-REFERENCE", schema.span, why)
                    .with_hint("let a recursive `$ref` stand under `properties`, `items` or the like"),
            );
            return;
        }
    }
}

/// All mappings, the anchors among them, and references that lead outside. The reader limits the depth.
fn collect<'n>(
    node: &'n Node,
    schemas: &mut Vec<&'n Node>,
    anchors: &mut HashMap<&'n str, &'n Node>,
    found: &mut Diagnostics,
) {
    match &node.value {
        NodeValue::Map(entries) => {
            schemas.push(node);
            for (key, item) in entries {
                match (&*key.text, item.as_str()) {
                    ("$anchor" | "$dynamicAnchor", Some(name)) => {
                        anchors.insert(name, node);
                    }
                    (name, Some(target)) if REFERENCES.contains(&name) && !target.starts_with('#') => {
                        let message = format!("the reference `{target}` leads out of the schema");
                        let hint = "copy it under `$defs` and refer to `#/$defs/…`";
                        found.push(Diagnostic::error("FS-SCHEMA-REFERENCE", item.span, message).with_hint(hint));
                    }
                    _ => {}
                }
                collect(item, schemas, anchors, found);
            }
        }
        NodeValue::Seq(items) => items.iter().for_each(|item| collect(item, schemas, anchors, found)),
        _ => {}
    }
}

/// How much is looked at from a schema on, at one place of the data.
#[derive(Clone, Copy)]
struct Weight {
    chain: usize,
    expanded: usize,
}

struct Walk<'n> {
    root: &'n Node,
    anchors: HashMap<&'n str, &'n Node>,
    /// By the schema's address; `None`: it is being weighed.
    weights: HashMap<*const Node, Option<Weight>>,
}

impl<'n> Walk<'n> {
    /// Depth first, without recursion: chains can be as long as the file.
    fn weigh(&mut self, start: &'n Node) -> Result<(), String> {
        let mut stack = vec![start];
        while let Some(&schema) = stack.last() {
            match self.weights.get(&std::ptr::from_ref(schema)) {
                Some(Some(_)) => {
                    stack.pop();
                }
                Some(None) => {
                    let applied = self.applied(schema);
                    let weights =
                        applied.iter().filter_map(|next| self.weights.get(&std::ptr::from_ref(*next))).flatten();
                    let weight = weights.fold(Weight { chain: 1, expanded: 1 }, |sum, next| Weight {
                        chain: sum.chain.max(next.chain + 1),
                        expanded: sum.expanded.saturating_add(next.expanded),
                    });
                    if weight.chain > CHAIN_MAX || weight.expanded > EXPANDED_MAX {
                        return Err("the references of this schema fan out too far".to_owned());
                    }
                    self.weights.insert(schema, Some(weight));
                    stack.pop();
                }
                None => {
                    self.weights.insert(schema, None);
                    for next in self.applied(schema) {
                        match self.weights.get(&std::ptr::from_ref(next)) {
                            Some(Some(_)) => {}
                            // Only what led here is still being weighed.
                            Some(None) => {
                                return Err("this schema refers to itself at the same place of the data".to_owned());
                            }
                            None => stack.push(next),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The schemas that `schema` applies at the same place of the data.
    fn applied(&self, schema: &'n Node) -> Vec<&'n Node> {
        let mut applied = Vec::new();
        for (key, item) in schema.as_map().unwrap_or_default() {
            let name = &*key.text;
            if REFERENCES.contains(&name) {
                applied.extend(item.as_str().and_then(|target| self.resolve(target)));
            } else if LISTS.contains(&name) {
                applied.extend(item.as_seq().unwrap_or_default());
            } else if SINGLE.contains(&name) {
                applied.push(item);
            } else if BY_NAME.contains(&name) {
                applied.extend(item.as_map().unwrap_or_default().iter().map(|(_, item)| item));
            }
        }
        applied.retain(|item| item.as_map().is_some());
        applied
    }

    fn resolve(&self, target: &str) -> Option<&'n Node> {
        let fragment = target.strip_prefix('#')?;
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self.anchors.get(fragment).copied();
        }
        pointer::tokens(&percent_decoded(fragment))?.iter().try_fold(self.root, |node, token| match &node.value {
            NodeValue::Seq(items) => items.get(token.parse::<usize>().ok()?),
            _ => node.get(token),
        })
    }
}

/// A fragment is part of a URI: `%25` is `%`.
fn percent_decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(&'static str, u32)> {
        let node = crate::source::read(text.as_bytes(), &crate::Limits::default()).unwrap();
        let mut found = Diagnostics::new();
        check(&node, &mut found);
        found.iter().map(|found| (found.code, found.span.line)).collect()
    }

    #[test]
    fn a_schema_may_be_recursive_along_the_data() {
        for fine in [
            "{properties: {child: {$ref: '#'}}}",
            "$ref: '#/$defs/tree'\n$defs: {tree: {type: object, additionalProperties: {$ref: '#/$defs/tree'}}}",
            "$defs: {a: {$anchor: a, items: {$ref: '#a'}}}\nallOf: [{$ref: '#a'}, {$ref: '#a'}]",
            "{$ref: '#/$defs/a%20b', $defs: {a b: {type: string}}}",
            "{anyOf: [{$ref: '#/$defs/x'}, {$ref: '#/$defs/x'}], $defs: {x: {}}}",
        ] {
            assert_eq!(codes(fine), [], "{fine}");
        }
    }

    #[test]
    fn a_schema_that_goes_round_in_a_circle_is_refused() {
        for endless in [
            "$ref: '#'",
            "allOf: [{$ref: '#'}]",
            "$ref: '#/$defs/a'\n$defs: {a: {$ref: '#/$defs/b'}, b: {not: {$ref: '#/$defs/a'}}}",
            "$defs: {a: {$anchor: x, if: {$ref: '#x'}}}",
            "properties: {p: {$ref: '#/properties/p'}}",
            "dependentSchemas: {p: {$ref: '#'}}",
        ] {
            assert_eq!(codes(endless), [("FS-SCHEMA-REFERENCE", codes(endless)[0].1)], "{endless}");
        }
    }

    #[test]
    fn a_schema_whose_references_fan_out_is_refused_however_long_the_file() {
        let doubling: String = (0..30)
            .map(|i| {
                format!(r##""d{i}":{{"allOf":[{{"$ref":"#/$defs/d{j}"}},{{"$ref":"#/$defs/d{j}"}}]}},"##, j = i + 1)
            })
            .collect();
        assert_eq!(codes(&format!(r##"{{"$defs":{{{doubling}"d30":{{}}}}}}"##)).len(), 1);
        let chain: String = (0..9_000).map(|i| format!(r##""d{i}":{{"$ref":"#/$defs/d{}"}},"##, i + 1)).collect();
        assert_eq!(codes(&format!(r##"{{"$defs":{{{chain}"d9000":{{}}}}}}"##)).len(), 1);
    }

    #[test]
    fn references_that_lead_outside_are_all_named() {
        let text = "a: {$ref: 'http://h/s'}\nb: {$dynamicRef: other.json}\nproperties: {$ref: {type: string}}";
        assert_eq!(codes(text), [("FS-SCHEMA-REFERENCE", 1), ("FS-SCHEMA-REFERENCE", 2)]);
    }
}
