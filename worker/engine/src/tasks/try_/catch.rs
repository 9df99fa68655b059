//! `catch`: which errors a `try` handles, and how.

use super::policy::Policy;
use crate::api::Value;
use crate::expr::{self, Expression};
use crate::machine::cx::Cx;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::{Keys, OWN_PREFIX};
use crate::plan::{BlockIndex, Then};
use crate::problem::Problem;
use crate::source::Node;
use crate::value;

#[derive(Debug)]
pub(super) struct Catch {
    /// Fields that the error must have.
    with: Option<Value>,
    /// The variable that holds the error.
    pub(super) as_: String,
    when: Option<Expression>,
    except_when: Option<Expression>,
    pub(super) retry: Option<Policy>,
    pub(super) list: Option<BlockIndex>,
    pub(super) then: Option<Then>,
}

const CATCH: Keys =
    Keys { of: "`catch`", known: &["errors", "as", "when", "exceptWhen", "retry", "do", "then"], not_yet: &[] };
const ERRORS: Keys = Keys { of: "`catch.errors`", known: &["with"], not_yet: &[] };
const WITH: Keys =
    Keys { of: "`errors.with`", known: &["type", "status", "title", "detail", "details", "instance"], not_yet: &[] };

/// The name under which `when` and `exceptWhen` always see the error, and the default of `as`.
pub(super) const ERROR: &str = "error";

impl Catch {
    pub(super) fn compile(node: &Node, task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        compiler.mapping(node, CATCH)?;
        let with = node.get("errors").and_then(|errors| {
            compiler.mapping(errors, ERRORS)?;
            errors.get("with").and_then(|with| error_filter(with, compiler))
        });
        let as_ = match node.get("as") {
            // With a wrong name, the rest is looked at under the default one.
            Some(name) => compiler.variable_name(name, "`catch.as`").unwrap_or_else(|| ERROR.to_owned()),
            None => ERROR.to_owned(),
        };
        let (when, except_when) = compiler.with_locals(&[ERROR, &as_], |compiler| {
            let mut condition =
                |key| node.get(key).and_then(|when| compiler.condition(when, &format!("`{key}`"), At::Definition));
            (condition("when"), condition("exceptWhen"))
        });
        let retry = match node.get("retry") {
            Some(retry) => Policy::compile_use(retry, &as_, compiler).map(Some),
            None => Some(None),
        };
        let list = compiler.with_locals(&[&as_], |compiler| {
            let pointer = task.pointer.child("catch").child("do");
            node.get("do").and_then(|list| compiler.list(list, &pointer))
        });
        let then = node.get("then").and_then(|then| compiler.then(then, task.siblings));
        Some(Self { with, as_, when, except_when, retry: retry?, list, then })
    }

    pub(super) fn takes(&self, problem: &Problem, error: &Value, cx: &Cx<'_, '_>) -> Result<bool, Problem> {
        if self.with.as_ref().is_some_and(|with| !problem.matches(with)) {
            return Ok(false);
        }
        let locals = [(ERROR, error), (self.as_.as_str(), error)];
        let vars = cx.vars().with_locals(&locals);
        let holds =
            |condition: &Option<Expression>| condition.as_ref().map(|when| vars.condition(when, error)).transpose();
        Ok(holds(&self.when)? != Some(false) && holds(&self.except_when)? != Some(true))
    }
}

/// `errors.with` compares with constants.
fn error_filter(node: &Node, compiler: &mut Compiler<'_>) -> Option<Value> {
    let entries = compiler.mapping(node, WITH)?;
    let fields: Vec<_> = entries.iter().filter(|(key, _)| !key.text.starts_with(OWN_PREFIX)).collect();
    if fields.is_empty() {
        let hint = "leave `errors` out to catch every error";
        compiler.error("FS-VALUE", node, "`errors.with` names no field of an error", hint);
    }
    for (key, field) in &fields {
        if &*key.text == "status" {
            if field.as_int().is_none() {
                compiler.wrong_type(field, "`status` of `errors.with`", "an integer");
            }
        } else if let Some(text) = compiler.text(field, &format!("`{}` of `errors.with`", key.text))
            && expr::holds_expression(text)
        {
            compiler.error(
                "FS-VALUE",
                field,
                "`errors.with` compares with constants only",
                "use `when` for an expression",
            );
        }
    }
    Some(value::object(fields.iter().map(|(key, field)| (&*key.text, value::from_node(field)))))
}
