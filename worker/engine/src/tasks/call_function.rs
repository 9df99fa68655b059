//! `call` of any other name: a task that is defined once and called by its name.

use super::{Outcome, TaskType};
use crate::expr::Template;
use crate::machine::cx::Cx;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::functions::Function;
use crate::problem::{Problem, ProblemKind};

/// The function and its input.
#[derive(Debug)]
pub(crate) struct CallFunction {
    function: Function,
    /// `None`: the task's own.
    with: Option<Template>,
}

impl TaskType for CallFunction {
    const KEY: &'static str = "call";
    const MORE_KEYS: &'static [&'static str] = &["with"];
    const HIDES_LOCALS: bool = true;
    const TAG: u8 = 13;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let function = compiler.function(task.own(Self::KEY));
        let with = task.node.get("with").map(|with| {
            if with.as_map().is_none() {
                compiler.wrong_type(with, "`with` of a function", "a mapping of names to values");
                return None;
            }
            compiler.template(with, At::Definition)
        });
        Some(Self { function: function?, with: with.map_or(Some(None), |with| with.map(Some))? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        let body = match &self.function {
            Function::Body(body) => *body,
            Function::Missing(missing) => return Err(missing.problem()),
        };
        let depth_max = cx.limits().function_depth_max;
        if cx.function_depth() > depth_max {
            let detail = format!(
                "{depth_max} calls of functions stand inside of each other, which is the limit `function_depth_max`: does one call itself?"
            );
            return Err(Problem::new(ProblemKind::Runtime, detail, ""));
        }
        let input = match &self.with {
            Some(with) => cx.vars().eval(with, cx.input())?,
            None => cx.input().clone(),
        };
        Ok(((), Outcome::List(body, input)))
    }

    fn child_faulted(&self, (): &mut (), cx: &mut Cx<'_, '_>, problem: Problem) -> Result<Outcome, Problem> {
        // Whoever calls a function need not know what is inside of it.
        Err(problem.at(&*cx.task().pointer))
    }
}
