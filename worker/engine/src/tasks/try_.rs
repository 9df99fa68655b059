//! `try`: runs a list of tasks and handles their errors.
//!
//! ```text
//! trying ─ done ──────────────────────────────▶ output
//!    └─ error ─ errors.with, when, exceptWhen ─▶ catching: do ─▶ catch.then
//!                            └─ does not fit ──▶ passed on
//! ```

use super::{Outcome, TaskType};
use crate::api::Value;
use crate::expr::{self, Expression};
use crate::machine::cx::Cx;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::{BlockIndex, Then};
use crate::problem::Problem;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::source::Node;
use crate::value;

/// The list and what to do with its errors.
#[derive(Debug)]
pub(crate) struct Try {
    list: BlockIndex,
    catch: Catch,
}

#[derive(Debug)]
struct Catch {
    /// Fields that the error must have.
    with: Option<Value>,
    /// The variable that holds the error.
    as_: String,
    when: Option<Expression>,
    except_when: Option<Expression>,
    list: Option<BlockIndex>,
    then: Option<Then>,
}

/// Which of its lists runs.
#[derive(Debug, Clone)]
pub(crate) enum Running {
    Trying,
    /// With the caught error.
    Catching(Value),
}

const CATCH: Keys =
    Keys { of: "`catch`", known: &["errors", "as", "when", "exceptWhen", "do", "then"], not_yet: &["retry"] };
const ERRORS: Keys = Keys { of: "`catch.errors`", known: &["with"], not_yet: &[] };
const WITH: Keys =
    Keys { of: "`errors.with`", known: &["type", "status", "title", "detail", "details", "instance"], not_yet: &[] };

/// The name under which `when` and `exceptWhen` always see the error, and the default of `as`.
const ERROR: &str = "error";

impl TaskType for Try {
    const KEY: &'static str = "try";
    const MORE_KEYS: &'static [&'static str] = &["catch"];
    const TAG: u8 = 6;
    type Memory = Running;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let list = compiler.list(task.own(Self::KEY), &task.pointer.child(Self::KEY));
        let catch = compiler
            .required(task.node, "catch", "a `try` task")
            .and_then(|catch| Catch::compile(catch, task, compiler));
        Some(Self { list: list?, catch: catch? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Running, Outcome), Problem> {
        Ok((Running::Trying, Outcome::List(self.list, cx.input().clone())))
    }

    fn list_done(
        &self,
        running: &mut Running,
        _: &mut Cx<'_, '_>,
        _: BlockIndex,
        output: Value,
    ) -> Result<Outcome, Problem> {
        Ok(match (running, self.catch.then) {
            (Running::Catching(_), Some(then)) => Outcome::Go(output, then),
            _ => Outcome::Done(output),
        })
    }

    fn child_faulted(&self, running: &mut Running, cx: &mut Cx<'_, '_>, problem: Problem) -> Result<Outcome, Problem> {
        // What goes wrong while an error is handled is not handled by the same handler.
        if matches!(running, Running::Catching(_)) {
            return Err(problem);
        }
        let error = problem.to_value();
        if !self.catch.takes(&problem, &error, cx)? {
            return Err(problem);
        }
        *running = Running::Catching(error);
        let input = cx.input().clone();
        Ok(match (self.catch.list, self.catch.then) {
            (Some(list), _) => Outcome::List(list, input),
            (None, Some(then)) => Outcome::Go(input, then),
            (None, None) => Outcome::Done(input),
        })
    }

    fn local<'m>(&self, running: &'m Running, name: &str) -> Option<&'m Value> {
        match running {
            Running::Catching(error) if name == self.catch.as_ => Some(error),
            _ => None,
        }
    }
}

impl Catch {
    fn compile(node: &Node, task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
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
                |key| node.get(key).and_then(|when| compiler.jq(when, &format!("`{key}`"), At::Definition));
            (condition("when"), condition("exceptWhen"))
        });
        let list = compiler.with_locals(&[&as_], |compiler| {
            let pointer = task.pointer.child("catch").child("do");
            node.get("do").and_then(|list| compiler.list(list, &pointer))
        });
        let then = node.get("then").and_then(|then| compiler.then(then, task.siblings));
        Some(Self { with, as_, when, except_when, list, then })
    }

    fn takes(&self, problem: &Problem, error: &Value, cx: &Cx<'_, '_>) -> Result<bool, Problem> {
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
    for (key, field) in compiler.mapping(node, WITH)? {
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
    Some(value::from_node(node))
}

impl Stored for Running {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Trying => to.byte(0),
            Self::Catching(error) => {
                to.byte(1);
                error.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        match from.byte()? {
            0 => Ok(Self::Trying),
            1 => Stored::read(from).map(Self::Catching),
            _ => Err(SnapshotError::corrupt("a try task neither tries nor catches")),
        }
    }
}
