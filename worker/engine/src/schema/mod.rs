//! `input.schema`, `output.schema`, `export.schema`: JSON Schemas, compiled with the definition.
//!
//! Never fetches anything: a schema that lies elsewhere comes with the definition's bundle.

mod references;

use std::sync::Arc;

use jsonschema::Draft;

use crate::diagnostic::{Diagnostic, Diagnostics, Span, suggestion};
use crate::plan::compiler::Compiler;
use crate::plan::keys::Keys;
use crate::problem::{Problem, ProblemKind};
use crate::resource::{Found, Missing, Purpose};
use crate::source::{self, Node};
use crate::value::{self, Value};

/// A compiled schema. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Schema {
    Compiled(Arc<jsonschema::Validator>),
    /// It lies elsewhere and was not fetched.
    Missing(Missing),
}

/// How many violations a problem names: the first ones help, a thousand do not.
const VIOLATIONS_SHOWN_MAX: usize = 5;

const SCHEMA: Keys = Keys { of: "a schema", known: &["format", "document", "resource"], not_yet: &[] };

/// The versions that may follow `json:`.
const VERSIONS: [(&str, Draft); 5] = [
    ("2020-12", Draft::Draft202012),
    ("2019-09", Draft::Draft201909),
    ("draft-07", Draft::Draft7),
    ("draft-06", Draft::Draft6),
    ("draft-04", Draft::Draft4),
];

impl Schema {
    /// Compiles a schema object of the language: `{format, document}` or `{format, resource}`.
    pub(crate) fn compile(node: &Node, compiler: &mut Compiler<'_>) -> Option<Self> {
        let before = compiler.diagnostics.len();
        if node.as_map().is_none() {
            let message = format!("a schema is a mapping, not {}", node.kind());
            compiler.error("FS-SCHEMA", node, message, "write `schema: { format: json, document: { … } }`");
            return None;
        }
        compiler.mapping(node, SCHEMA)?;
        let draft = node.get("format").and_then(|format| draft(format, compiler));
        match (node.entry("document"), node.get("resource")) {
            (Some((key, document)), None) => {
                let schema = Self::of_document(document, draft, key.span, &mut compiler.diagnostics)?;
                (!compiler.diagnostics.has_errors_since(before)).then_some(schema)
            }
            (None, Some(resource)) => match compiler.external_resource(resource, Purpose::Schema)? {
                Found::Missing(missing) => Some(Self::Missing(missing)),
                Found::Here(url, document) => compiler.within(&url, resource.span, |compiler| {
                    let read = source::read(&document.bytes, compiler.limits);
                    let read = read.map_err(|found| compiler.diagnostics.extend(found)).ok()?;
                    Self::of_document(&read, draft, read.span, &mut compiler.diagnostics)
                }),
            },
            (Some(_), Some(resource)) => {
                compiler.error(
                    "FS-SCHEMA",
                    resource,
                    "the schema has both `document` and `resource`",
                    "keep one of them",
                );
                None
            }
            (None, None) => {
                let hint = "put the JSON Schema under `document`, or say where it lies: `resource: { endpoint: … }`";
                compiler.error("FS-SCHEMA", node, "the schema has no `document`", hint);
                None
            }
        }
    }

    fn of_document(document: &Node, draft: Option<Draft>, span: Span, found: &mut Diagnostics) -> Option<Self> {
        let before = found.len();
        references::check(document, found);
        if found.len() > before {
            return None;
        }
        let json = value::to_serde(&value::from_node(document));
        // The reader limits the schema's size and depth; a third party's compiler must not take the process down all the same.
        let built = std::panic::catch_unwind(|| {
            let options = jsonschema::options();
            let options = draft.into_iter().fold(options, |options, draft| options.with_draft(draft));
            options.build(&json).map_err(|error| describe(&error))
        });
        match built.unwrap_or_else(|_| Err("it cannot be compiled".to_owned())) {
            Ok(validator) => Some(Self::Compiled(Arc::new(validator))),
            Err(why) => {
                let message = format!("this is no JSON Schema: {why}");
                found.push(Diagnostic::error("FS-SCHEMA", span, message).with_hint("the dialect is 2020-12"));
                None
            }
        }
    }

    /// Checks a value. The problem's detail names what is wrong, and where.
    pub(crate) fn validate(&self, value: &Value, instance: &str) -> Result<(), Problem> {
        let validator = match self {
            Self::Compiled(validator) => validator,
            Self::Missing(missing) => return Err(missing.problem().at(instance)),
        };
        let json = value::to_serde(value);
        if validator.is_valid(&json) {
            return Ok(());
        }
        let mut violations: Vec<String> =
            validator.iter_errors(&json).take(VIOLATIONS_SHOWN_MAX + 1).map(|error| describe(&error)).collect();
        if violations.len() > VIOLATIONS_SHOWN_MAX {
            violations[VIOLATIONS_SHOWN_MAX] = "…".to_owned();
        }
        Err(Problem::new(ProblemKind::Validation, violations.join("; "), instance))
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

/// `json`, and the version of JSON Schema that may follow it.
fn draft(node: &Node, compiler: &mut Compiler<'_>) -> Option<Draft> {
    let text = compiler.text(node, "`format` of a schema")?;
    let (format, version) = text.split_once(':').map_or((text, None), |(format, version)| (format, Some(version)));
    if format != "json" {
        let message = format!("only schemas of format `json` can be used, not `{format}`");
        compiler.error("FS-NOT-YET", node, message, "write `format: json`, or leave it out");
        return None;
    }
    let known = VERSIONS.iter().find(|(name, _)| version.is_some_and(|version| version == *name));
    if let (Some(version), None) = (version, known) {
        let hint = suggestion(version, VERSIONS.iter().map(|(name, _)| *name));
        compiler.error("FS-VALUE", node, format!("`{version}` is no version of JSON Schema"), &hint);
    }
    known.map(|(_, draft)| *draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn compile(text: &str) -> Result<Schema, Vec<(&'static str, u32)>> {
        let node = crate::source::read(text.as_bytes(), &Limits::default()).unwrap();
        let (limits, bundle) = (Limits::default(), crate::Bundle::default());
        let mut compiler = Compiler::new(&limits, &bundle);
        let schema = Schema::compile(&node, &mut compiler);
        let found = compiler.diagnostics;
        schema.filter(|_| found.is_empty()).ok_or_else(|| found.iter().map(|d| (d.code, d.span.line)).collect())
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
    fn a_schema_that_cannot_be_used_is_refused_at_its_place() {
        for (text, found) in [
            ("document:\n  $ref: http://h/s", ("FS-SCHEMA-REFERENCE", 2)),
            ("document: {}\nformat: avro", ("FS-NOT-YET", 2)),
            ("document: {}\nformat: json:2021", ("FS-VALUE", 2)),
            ("document: {}\nformat: 5", ("FS-WRONG-TYPE", 2)),
            ("document: {}\ndokument: {}", ("FS-UNKNOWN-KEY", 2)),
            ("document: {}\nresource: {endpoint: http://h/s}", ("FS-SCHEMA", 2)),
            ("resource:\n  endpoint: '${ .where }'", ("FS-RESOURCE", 2)),
            ("resource:\n  endpoint: 'https://h/{name}'", ("FS-RESOURCE", 2)),
            ("resource:\n  endpoint: {uri: 'ftp://h/s'}", ("FS-RESOURCE", 2)),
            ("resource: {name: s}", ("FS-MISSING-KEY", 1)),
            ("format: json", ("FS-SCHEMA", 1)),
            ("document: {type: nonsense}", ("FS-SCHEMA", 1)),
            ("document: {pattern: '('}", ("FS-SCHEMA", 1)),
            ("document: {$schema: 'https://example.com/own'}", ("FS-SCHEMA", 1)),
            ("hello", ("FS-SCHEMA", 1)),
        ] {
            assert_eq!(compile(text).unwrap_err(), [found], "{text}");
        }
    }

    #[test]
    fn the_version_after_json_chooses_the_dialect() {
        let with = |format: &str| compile(&format!("format: '{format}'\ndocument: {{items: [{{type: string}}]}}"));
        for (format, takes) in [("json:draft-07", false), ("json:2019-09", false), ("json:draft-04", false)] {
            assert_eq!(with(format).unwrap().validate(&json("[1]"), "").is_ok(), takes, "{format}");
        }
        let prefix =
            |format: &str| compile(&format!("format: '{format}'\ndocument: {{prefixItems: [{{type: string}}]}}"));
        assert!(prefix("json").unwrap().validate(&json("[1]"), "").is_err());
        assert!(prefix("json:2020-12").unwrap().validate(&json("[1]"), "").is_err());
        assert!(prefix("json:draft-07").unwrap().validate(&json("[1]"), "").is_ok());
    }

    #[test]
    fn a_schema_that_was_not_fetched_faults_whoever_needs_it() {
        let schema = compile("resource: {endpoint: {uri: 'https://h/s.json'}}").unwrap();
        let problem = schema.validate(&json("1"), "/do/0/a").unwrap_err();
        assert!(problem.is(ProblemKind::Configuration));
        assert_eq!(problem.instance.as_deref(), Some("/do/0/a"));
        assert!(problem.detail.unwrap().contains("https://h/s.json"));
    }
}
