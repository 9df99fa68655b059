//! Extensions: the lists that run before and after a task, around all that is its own.
//!
//! What they give is dropped, unless a list before ends with `exit`: that is then the task's raw output.

use super::frame::{Run, State};
use super::run::{Left, Machine, Work};
use crate::api::Value;
use crate::plan::{BlockIndex, Extension, Task};
use crate::problem::Problem;

impl Machine<'_> {
    /// Finds the extensions that apply to this run.
    pub(super) fn choose_extensions(&mut self, run: Run, task: &Task) -> Result<(), Problem> {
        if task.extensions.is_empty() || self.is_in_extension(run) {
            return Ok(());
        }
        let mut applying = Vec::new();
        for number in &task.extensions {
            let applies = match &self.plan.extension(*number).when {
                Some(when) => self.vars(run).condition(when, &self.frame(run).raw_input)?,
                None => true,
            };
            if applies {
                applying.push(*number);
            }
        }
        self.frame_mut(run).extensions = applying;
        Ok(())
    }

    /// The first list before the task, of the extension at `position` or a later one; without any the task itself.
    pub(super) fn extend_before(&mut self, run: Run, position: u32) -> Option<Work> {
        match self.next_list(run, position, |extension| extension.before) {
            Some((position, list)) => {
                let frame = self.frame_mut(run);
                frame.state = State::Before(position);
                let input = frame.raw_input.clone();
                self.begin_list(Some(run), list, input)
            }
            None => self.begin(run),
        }
    }

    /// The first list after the task, of the extension at the run's position or a later one; without any it is complete.
    pub(super) fn extend_after(&mut self, run: Run) -> Option<Work> {
        let State::After(leaving) = &self.frame(run).state else { return None };
        let (output, then) = (leaving.output.clone(), leaving.then);
        match self.next_list(run, leaving.position, |extension| extension.after) {
            Some((position, list)) => {
                if let State::After(leaving) = &mut self.frame_mut(run).state {
                    leaving.position = position;
                }
                self.begin_list(Some(run), list, output)
            }
            None => self.complete(run, output, then),
        }
    }

    fn next_list(
        &self,
        run: Run,
        position: u32,
        list: impl Fn(&Extension) -> Option<BlockIndex>,
    ) -> Option<(u32, BlockIndex)> {
        let applying = self.frame(run).extensions.iter().enumerate().skip(position as usize);
        applying.filter_map(|(at, number)| Some((at as u32, list(self.plan.extension(*number))?))).next()
    }

    /// A list of an extension is through.
    pub(super) fn extension_done(&mut self, run: Run, output: Value, left: Left) -> Option<Work> {
        match &mut self.frame_mut(run).state {
            State::Before(_) if left == Left::Exit => {
                self.frame_mut(run).extensions = Vec::new();
                self.leave(run, output, None)
            }
            State::Before(position) => {
                let next = *position + 1;
                self.extend_before(run, next)
            }
            State::After(leaving) => {
                leaving.position += 1;
                self.extend_after(run)
            }
            State::New | State::Live(_) => None,
        }
    }
}
