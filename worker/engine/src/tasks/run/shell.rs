//! `run: shell`: a command line.

use super::Options;
use super::arguments::Given;
use super::program::{self, Program};
use crate::api::{Env, ProcessKind, Projection, Request, Value, WaitReason};
use crate::expr::Template;
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::machine::vars::Vars;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::Problem;
use crate::tasks::{Memory, Outcome, Signal, TaskType};
use crate::value;

/// The command line and what it is given.
#[derive(Debug)]
pub(crate) struct RunShell {
    options: Options,
    locals: Vec<String>,
    command: Template,
    given: Given,
}

const KIND: &str = "shell";
const SHELL: Keys = Keys { of: "`run.shell`", known: &["command", "arguments", "environment", "stdin"], not_yet: &[] };

impl TaskType for RunShell {
    const KEY: &'static str = super::KEY;
    const KIND: Option<&'static str> = Some(KIND);
    const TAG: u8 = 16;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let (options, node) = Options::compile(task, KIND, compiler)?;
        compiler.mapping(node, SHELL)?;
        let command = compiler.required(node, "command", SHELL.of).and_then(|command| {
            compiler.text(command, "`command`")?;
            compiler.shell_command(command, At::Definition)
        });
        let given = Given::compile(node, SHELL.of, compiler);
        let (command, given) = (command?, given?);
        let uses = |name: &String| command.uses(name) || given.uses(name);
        let locals = compiler.locals.iter().filter(|name| uses(name)).cloned().collect();
        Some(Self { options, locals, command, given })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        program::enter(self, cx)
    }

    fn wake(&self, (): &mut (), cx: &mut Cx<'_, '_>, signal: Signal<'_>) -> Option<Result<Outcome, Problem>> {
        program::wake(self, cx, signal)
    }

    fn project(&self, (): &(), look: &Look<'_>, to: &mut Projection) {
        program::project(look, to);
    }

    fn wait_reason(&self, (): &(), look: &Look<'_>) -> Option<WaitReason> {
        Some(program::wait_reason(self, look))
    }

    fn render(&self, (): &(), look: &Look<'_>, env: &Env<'_>) -> Option<Result<Request, Problem>> {
        Some(program::render(self, look, env))
    }
}

impl Program for RunShell {
    fn options(&self) -> Options {
        self.options
    }

    fn code(&self, vars: &Vars<'_>, input: &Value) -> Result<(ProcessKind, String), Problem> {
        let command = vars.eval(&self.command, input)?;
        Ok((ProcessKind::Shell, value::as_str(&command).unwrap_or_default().to_owned()))
    }

    fn given(&self) -> &Given {
        &self.given
    }

    fn locals(&self) -> &[String] {
        &self.locals
    }

    fn memory(&self) -> Memory {
        Memory::RunShell(())
    }

    fn summary(&self) -> &str {
        "the shell command"
    }
}
