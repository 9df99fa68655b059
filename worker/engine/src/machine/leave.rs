//! What follows when a task is done: its output, the lists after it, where the flow goes on, and the workflow's end.

use flagstop_schemas::StatusKind;

use super::frame::{Frame, Leaving, Run, State};
use super::run::{Left, Machine, Work};
use crate::api::{Phase, Value};
use crate::instance::GoOnAt;
use crate::plan::{BlockKind, Task, Then};
use crate::problem::Problem;
use crate::tasks::Branch;

impl Machine<'_> {
    /// A task is done: the common tail, once.
    pub(super) fn leave(&mut self, run: Run, raw_output: Value, instead: Option<Then>) -> Option<Work> {
        let task = self.task(run);
        let then = instead.unwrap_or(task.common.then);
        self.cancel_inside(Some(run));
        let output = match self.give_output(run, task, &raw_output) {
            Ok(output) => output,
            Err(problem) => return Some(Work::Fault(run, problem)),
        };
        if self.frame(run).extensions.is_empty() {
            return self.complete(run, output, then);
        }
        self.frame_mut(run).state = State::After(Box::new(Leaving { position: 0, raw_output, output, then }));
        self.extend_after(run)
    }

    /// A task's last step, after which its run is gone.
    pub(super) fn complete(&mut self, run: Run, output: Value, then: Then) -> Option<Work> {
        let task = self.task(run);
        self.journal_completed(StatusKind::TaskCompleted, Some(run), &output);
        self.pass_checkpoint(run, &output);
        let frame = self.remove(run)?;
        self.go_on(task, &frame, output, then)
    }

    pub(super) fn give_output(&mut self, run: Run, task: &Task, raw_output: &Value) -> Result<Value, Problem> {
        let common = &task.common;
        let output = match &common.output_as {
            Some(as_) => self.vars(run).after(raw_output).eval(as_, raw_output)?,
            None => raw_output.clone(),
        };
        if let Some(schema) = &common.output_schema {
            schema.validate(&output, &task.pointer)?;
        }
        let exported = match &common.export_as {
            Some(as_) => Some(self.vars(run).after(raw_output).with_output(&output).eval(as_, &output)?),
            None => None,
        };
        if let Some(schema) = &common.export_schema {
            schema.validate(exported.as_ref().unwrap_or_else(|| self.vars(run).context()), &task.pointer)?;
        }
        if let Some(context) = exported {
            self.set_context(run, context);
        }
        Ok(output)
    }

    /// `$context` as this run sees it: within a branch the branch's own.
    pub(crate) fn set_context(&mut self, run: Run, context: Value) {
        let is_branch = |frame: &&Frame| self.plan.block_of(frame.task).kind == BlockKind::Branches;
        let branch = match self.frame(run).lane {
            Some(_) => self.instance.frames.path(run).find(is_branch).map(|frame| frame.run),
            None => None,
        };
        match branch {
            Some(branch) => self.frame_mut(branch).context = Some(context),
            None => self.instance.context = context,
        }
    }

    /// Where the flow goes after `task`, whose run is over.
    pub(super) fn go_on(&mut self, task: &Task, frame: &Frame, output: Value, then: Then) -> Option<Work> {
        let block = self.plan.block(task.block);
        match (block.kind, then) {
            // The directive of a function's body has nothing to direct.
            (BlockKind::Body, _) => return Some(Work::ListDone(frame.parent, task.block, output, Left::Through)),
            (_, Then::End) => return self.end(output),
            (BlockKind::Branches, _) => {
                let branch = Branch { position: task.position, output, context: frame.context.clone() };
                return frame.parent.map(|parent| Work::BranchDone(parent, branch));
            }
            (BlockKind::List | BlockKind::Extension, _) => {}
        }
        let position = match then {
            Then::Sibling(position) => position,
            Then::Exit => return Some(Work::ListDone(frame.parent, task.block, output, Left::Exit)),
            Then::Continue | Then::End => task.position + 1,
        };
        match block.tasks.get(position as usize) {
            Some(next) => {
                self.spawn(*next, frame.parent, output);
                None
            }
            None => Some(Work::ListDone(frame.parent, task.block, output, Left::Through)),
        }
    }

    /// The workflow ends by itself.
    pub(super) fn end(&mut self, raw_output: Value) -> Option<Work> {
        self.cancel_inside(None);
        match self.give_workflow_output(raw_output.clone()) {
            Ok(output) => {
                self.journal_completed(StatusKind::WorkflowCompleted, None, &output);
                self.instance.output = Some(output);
                self.instance.phase = Phase::Completed;
            }
            Err(problem) => {
                self.fail(problem);
                self.instance.go_on_at = GoOnAt::End(raw_output);
            }
        }
        None
    }

    fn give_workflow_output(&self, raw_output: Value) -> Result<Value, Problem> {
        let workflow = self.plan.workflow();
        let output = match &workflow.output_as {
            Some(as_) => {
                self.workflow_vars().eval(as_, &raw_output).map_err(|problem| problem.located("/output/as"))?
            }
            None => raw_output,
        };
        if let Some(schema) = &workflow.output_schema {
            schema.validate(&output, "/output/schema")?;
        }
        Ok(output)
    }
}
