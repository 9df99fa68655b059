//! `raise`: faults with the author's error.

use super::{Outcome, TaskType};
use crate::expr::{self, Template};
use crate::machine::cx::Cx;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::named::NamedOf;
use crate::plan::reach::{Reach, Ways};
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;
use crate::uri_template::is_uri_reference;

/// The error, with expressions in it.
#[derive(Debug)]
pub(crate) struct Raise {
    error: Template,
}

const RAISE: Keys = Keys { of: "`raise`", known: &["error"], not_yet: &[] };
const ERROR: Keys =
    Keys { of: "an error", known: &["type", "status", "title", "detail", "details", "instance"], not_yet: &[] };

impl TaskType for Raise {
    const KEY: &'static str = "raise";
    const TAG: u8 = 4;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        compiler.mapping(node, RAISE)?;
        let error = compiler.required(node, "error", RAISE.of)?;
        let error = match error.as_str() {
            Some(_) => compiler.named(NamedOf::Errors, error)?,
            None => error,
        };
        Self::of_error(error, compiler)
    }

    fn ways(&self, _: &Reach<'_>) -> Ways {
        Ways::NONE
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        let error = cx.vars().eval(&self.error, cx.input())?;
        let pointer = &cx.task().pointer;
        let problem = Problem::from_value(&error, pointer)
            .map_err(|why| Problem::new(ProblemKind::Expression, format!("this can't be raised: {why}"), ""))?;
        // Whatever the author wrote: an error comes from the task that raised it.
        Err(problem.at(pointer))
    }
}

impl Raise {
    fn of_error(error: &Node, compiler: &mut Compiler<'_>) -> Option<Self> {
        let checked = check_error(error, compiler);
        let error = compiler.template(error, At::Definition);
        checked.and(error).map(|error| Self { error })
    }
}

/// Reports what is wrong in an error that no task raises.
pub(crate) fn check_unraised(error: &Node, compiler: &mut Compiler<'_>) {
    Raise::of_error(error, compiler);
}

/// What is surely wrong in an error's definition.
fn check_error(node: &Node, compiler: &mut Compiler<'_>) -> Option<()> {
    compiler.mapping(node, ERROR)?;
    let ty = compiler.required(node, "type", ERROR.of)?;
    if ty.as_str().is_some_and(|ty| !expr::holds_expression(ty) && !is_uri_reference(ty)) {
        let hint = "write a URI such as https://example.com/errors/out-of-stock";
        compiler.error("FS-VALUE", ty, "`type` of an error must be a URI: not empty, and without white space", hint);
    }
    let status = compiler.required(node, "status", ERROR.of)?;
    let is_expression = status.as_str().is_some_and(expr::holds_expression);
    if status.as_int().is_none() && !is_expression {
        compiler.wrong_type(status, "`status` of an error", "an integer");
    }
    let is_pointer = |text: &str| text.is_empty() || text.starts_with('/') || expr::holds_expression(text);
    if let Some(instance) = node.get("instance").filter(|instance| !instance.as_str().is_none_or(is_pointer)) {
        let hint = "leave it out: an error's instance is the task that raises it";
        compiler.error("FS-VALUE", instance, "`instance` of an error must be a JSON Pointer", hint);
    }
    for key in ["type", "title", "detail", "details", "instance"] {
        if let Some(text) = node.get(key) {
            compiler.text(text, &format!("`{key}` of an error"));
        }
    }
    Some(())
}
