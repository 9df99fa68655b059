//! `input.schema`, `output.schema`, `export.schema`: JSON Schemas inside a definition, compiled with it.
//!
//! Never fetches anything: a schema that lies elsewhere is a mistake for now, and says so.

use crate::diagnostic::{Diagnostic, Diagnostics, Span, suggestion};
use crate::problem::{Problem, ProblemKind};
use crate::source::{Node, NodeValue};
use crate::value::{self, Value};
use std::sync::Arc;

/// A compiled schema. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Arc<jsonschema::Validator>);

/// How many violations a problem names: the first ones help, a thousand do not.
const VIOLATIONS_SHOWN_MAX: usize = 5;

impl Schema {
    /// Compiles a schema object of the language: `{format, document}`. Mistakes go to `found`.
    pub fn compile(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let before = found.len();
        let Some(entries) = node.as_map() else {
            let message = format!("a schema is a mapping, not {}", node.kind());
            let hint = "write `schema: { format: json, document: { … } }`";
            found.push(Diagnostic::error("FS-SCHEMA", node.span, message).with_hint(hint));
            return None;
        };
        for (key, item) in entries {
            match &*key.text {
                "format" => check_format(item, found),
                "document" => check_references(item, found),
                "resource" => {
                    let message = "schemas outside of the definition are not read yet";
                    let hint = "put the schema itself under `document`";
                    found.push(Diagnostic::error("FS-NOT-YET", key.span, message).with_hint(hint));
                }
                other if other.starts_with("x-") => {}
                other => {
                    let message = format!("a schema has no key `{other}`");
                    let hint = suggestion(other, ["format", "document", "resource"]);
                    found.push(Diagnostic::error("FS-UNKNOWN-KEY", key.span, message).with_hint(hint));
                }
            }
        }
        let Some((key, document)) = node.entry("document") else {
            if found.len() == before {
                let found_here = Diagnostic::error("FS-SCHEMA", node.span, "the schema has no `document`");
                found.push(found_here.with_hint("put the JSON Schema under `document`"));
            }
            return None;
        };
        if found.len() > before {
            return None;
        }
        Self::build(&value::to_serde(&value::from_node(document)), key.span, found)
    }

    fn build(document: &serde_json::Value, span: Span, found: &mut Diagnostics) -> Option<Self> {
        // The reader limits the schema's size and depth; a third party's compiler must not take the process down all the same.
        let built =
            std::panic::catch_unwind(|| jsonschema::options().build(document).map_err(|error| describe(&error)));
        match built.unwrap_or_else(|_| Err("it cannot be compiled".to_owned())) {
            Ok(validator) => Some(Self(Arc::new(validator))),
            Err(why) => {
                let message = format!("this is no JSON Schema: {why}");
                found.push(Diagnostic::error("FS-SCHEMA", span, message).with_hint("the dialect is 2020-12"));
                None
            }
        }
    }

    /// Checks a value. The problem's detail names what is wrong, and where.
    pub fn validate(&self, value: &Value, instance: &str) -> Result<(), Problem> {
        let json = value::to_serde(value);
        if self.0.is_valid(&json) {
            return Ok(());
        }
        let mut violations: Vec<String> =
            self.0.iter_errors(&json).take(VIOLATIONS_SHOWN_MAX + 1).map(|error| describe(&error)).collect();
        if violations.len() > VIOLATIONS_SHOWN_MAX {
            violations[VIOLATIONS_SHOWN_MAX] = "…".to_owned();
        }
        Err(Problem::new(ProblemKind::Validation, violations.join("; "), instance))
    }
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schema")
    }
}

fn describe(error: &jsonschema::ValidationError<'_>) -> String {
    /// Some messages show the whole value.
    const CHARS_MAX: usize = 200;
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    match error.instance_path().as_str() {
        "" => text,
        path => format!("at {path}: {text}"),
    }
}

fn check_format(node: &Node, found: &mut Diagnostics) {
    match node.as_str() {
        // A version may follow, as in `json:2020-12`.
        Some(format) if format == "json" || format.starts_with("json:") => {}
        _ => {
            let found_here = Diagnostic::error("FS-NOT-YET", node.span, "only schemas of format `json` can be used");
            found.push(found_here.with_hint("write `format: json`, or leave it out"));
        }
    }
}

/// References may only point into the schema itself. The reader limits the depth.
fn check_references(node: &Node, found: &mut Diagnostics) {
    match &node.value {
        NodeValue::Map(entries) => {
            for (key, item) in entries {
                if let ("$ref" | "$dynamicRef", Some(target)) = (&*key.text, item.as_str())
                    && !target.starts_with('#')
                {
                    let message = format!("the reference `{target}` leads out of the definition: not read yet");
                    let hint = "copy it under `$defs` and refer to `#/$defs/…`";
                    found.push(Diagnostic::error("FS-NOT-YET", item.span, message).with_hint(hint));
                }
                check_references(item, found);
            }
        }
        NodeValue::Seq(items) => items.iter().for_each(|item| check_references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn compile(text: &str) -> Result<Schema, Vec<(&'static str, u32)>> {
        let node = crate::source::read(text.as_bytes(), &Limits::default()).unwrap();
        let mut found = Diagnostics::new();
        let schema = Schema::compile(&node, &mut found);
        schema.ok_or_else(|| found.iter().map(|d| (d.code, d.span.line)).collect())
    }

    fn json(text: &str) -> Value {
        value::parse_json(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn a_value_is_checked_and_the_problem_says_where_it_is_wrong() {
        let schema = compile(
            "format: json\ndocument:\n  type: object\n  required: [name]\n  properties:\n    name: {type: string}\n    age: {$ref: '#/$defs/age'}\n  $defs: {age: {type: integer, minimum: 0}}\n",
        )
        .unwrap();
        assert_eq!(schema.validate(&json(r#"{"name":"Ada","age":36.0}"#), "/input/schema"), Ok(()));
        let problem = schema.validate(&json(r#"{"name":5,"age":-1}"#), "/input/schema").unwrap_err();
        assert!(problem.is(ProblemKind::Validation));
        assert_eq!((problem.status, problem.instance.as_deref()), (400, Some("/input/schema")));
        let detail = problem.detail.unwrap();
        assert!(detail.contains("/name") && detail.contains("/age"), "{detail}");
        let many = format!("{{\"name\":\"{}\",\"age\":\"x\"}}", "y".repeat(100_000));
        let detail = schema.validate(&json(&many), "").unwrap_err().detail.unwrap();
        assert!(detail.len() < 1_500, "{}", detail.len());
    }

    #[test]
    fn what_lies_outside_is_not_yet_read_and_named() {
        assert_eq!(compile("resource: {endpoint: http://h/s}").unwrap_err(), [("FS-NOT-YET", 1)]);
        assert_eq!(compile("document:\n  $ref: http://h/s").unwrap_err(), [("FS-NOT-YET", 2)]);
        assert_eq!(compile("document: {}\nformat: avro").unwrap_err(), [("FS-NOT-YET", 2)]);
        assert_eq!(compile("document: {}\ndokument: {}").unwrap_err(), [("FS-UNKNOWN-KEY", 2)]);
        assert_eq!(compile("format: json").unwrap_err(), [("FS-SCHEMA", 1)]);
        assert_eq!(compile("document: {type: nonsense}").unwrap_err(), [("FS-SCHEMA", 1)]);
        assert_eq!(compile("document: {pattern: '('}").unwrap_err(), [("FS-SCHEMA", 1)]);
        assert_eq!(compile("hello").unwrap_err(), [("FS-SCHEMA", 1)]);
    }
}
