//! What a program is given: arguments, standard input, environment. The definition's values become texts here.

use crate::api::Value;
use crate::expr::{self, Template};
use crate::machine::vars::Vars;
use crate::plan::compiler::{At, Compiler};
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;
use crate::value;

/// What a program is given.
#[derive(Debug)]
pub(super) struct Given {
    arguments: Option<Template>,
    stdin: Option<Template>,
    environment: Option<Template>,
}

/// The same as texts.
pub(super) struct Texts {
    pub(super) arguments: Vec<String>,
    pub(super) stdin: Option<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// Tells a program which run it is, as the header of that name tells services.
const IDEMPOTENCY_KEY: &str = "IDEMPOTENCY_KEY";

impl Given {
    pub(super) fn compile(node: &Node, of: &str, compiler: &mut Compiler<'_>) -> Option<Self> {
        let before = compiler.diagnostics.len();
        let mut template = |key: &str, check: fn(&Node, &str, &mut Compiler<'_>)| {
            let node = node.get(key)?;
            check(node, &format!("`{key}` of {of}"), compiler);
            compiler.template(node, At::Definition)
        };
        let arguments = template("arguments", check_arguments);
        let stdin = template("stdin", |node, what, compiler| {
            compiler.text(node, what);
        });
        let environment = template("environment", |node, what, compiler| {
            if node.as_map().is_none() && !is_expression(node) {
                compiler.wrong_type(node, what, "a mapping of names to texts");
            }
        });
        (!compiler.diagnostics.has_errors_since(before)).then_some(Self { arguments, stdin, environment })
    }

    pub(super) fn uses(&self, variable: &str) -> bool {
        [&self.arguments, &self.stdin, &self.environment].into_iter().flatten().any(|template| template.uses(variable))
    }

    pub(super) fn texts(&self, vars: &Vars<'_>, input: &Value, idempotency_key: &str) -> Result<Texts, Problem> {
        let eval = |template: &Option<Template>| {
            template.as_ref().map_or(Ok(Value::default()), |template| vars.eval(template, input))
        };
        let stdin = eval(&self.stdin)?;
        let mut environment = environment(&eval(&self.environment)?)?;
        if environment.iter().all(|(name, _)| name != IDEMPOTENCY_KEY) {
            environment.push((IDEMPOTENCY_KEY.to_owned(), idempotency_key.to_owned()));
        }
        Ok(Texts {
            arguments: arguments(&eval(&self.arguments)?)?,
            stdin: (!value::is_null(&stdin)).then(|| text(&stdin)),
            environment,
        })
    }
}

fn check_arguments(node: &Node, what: &str, compiler: &mut Compiler<'_>) {
    match (node.as_seq(), node.as_map()) {
        (Some(items), _) => {
            for item in items {
                compiler.text(item, &format!("an item of {what}"));
            }
        }
        (None, Some(_)) => {}
        (None, None) if is_expression(node) => {}
        (None, None) => compiler.wrong_type(node, what, "a list of texts, or a mapping of names to values"),
    }
}

fn is_expression(node: &Node) -> bool {
    node.as_str().is_some_and(expr::holds_expression)
}

/// Options of a program from a mapping: `--name=value`; true is the name alone, null and false nothing.
pub fn program_options(given: &Value) -> Vec<String> {
    value::entries(given).filter_map(|(name, wanted)| option(name, wanted)).collect()
}

/// A list is taken as it is, a mapping becomes options.
fn arguments(given: &Value) -> Result<Vec<String>, Problem> {
    match given {
        Value::Null => Ok(Vec::new()),
        Value::Arr(items) => Ok(items.iter().map(text).collect()),
        Value::Obj(_) => Ok(program_options(given)),
        other => Err(wrong("arguments", "an array or an object", other)),
    }
}

fn option(name: &str, wanted: &Value) -> Option<String> {
    let name = if name.starts_with('-') { name.to_owned() } else { format!("--{name}") };
    match wanted {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(name),
        wanted => Some(format!("{name}={}", text(wanted))),
    }
}

fn environment(given: &Value) -> Result<Vec<(String, String)>, Problem> {
    match given {
        Value::Null => Ok(Vec::new()),
        Value::Obj(_) => Ok(value::entries(given).map(|(name, wanted)| (name.to_owned(), text(wanted))).collect()),
        other => Err(wrong("environment", "an object", other)),
    }
}

/// A text as it is, null as the empty one, anything else as JSON.
fn text(of: &Value) -> String {
    match value::as_str(of) {
        Some(text) => text.to_owned(),
        None if value::is_null(of) => String::new(),
        None => value::to_json(of),
    }
}

fn wrong(what: &str, wanted: &str, found: &Value) -> Problem {
    let detail = format!("the {what} must be {wanted}, not {}", value::type_name(found));
    Problem::new(ProblemKind::Expression, detail, "")
}
