//! `try`: runs a list of tasks, handles their errors and tries again.
//!
//! ```text
//! trying ─ done ───────────────────────────────────────────────────▶ output
//!  ▲  └─ error, or cut ─ errors.with, when, exceptWhen ─ don't fit ──▶ passed on
//!  └── delayed ◀── retry ──┴── none, or exhausted ──▶ catching: do ──▶ catch.then
//! ```

use super::{Outcome, Signal, TaskType};
use crate::api::{Projection, Timer, Value, WaitReason};
use crate::duration;
use crate::machine::cx::Cx;
use crate::machine::frame::Deadline;
use crate::machine::look::Look;
use crate::plan::BlockIndex;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::reach::{Reach, Ways};
use crate::problem::{Problem, ProblemKind};
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};

mod catch;
mod policy;

use catch::Catch;
pub(crate) use policy::check_unused_policy;

/// The list and what to do with its errors.
#[derive(Debug)]
pub(crate) struct Try {
    list: BlockIndex,
    catch: Catch,
}

/// Which of its lists runs, and at which attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempts {
    stage: Stage,
    /// Made or waited for.
    retries: u32,
    /// The last one that was caught.
    error: Option<Value>,
    /// Cuts the attempt.
    attempt: Option<Deadline>,
    /// Cuts all attempts together.
    total: Option<Deadline>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Trying,
    /// Before the next attempt.
    Delayed {
        due_us: i64,
    },
    Catching,
}

/// Whether an error may be followed by another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Allowed,
    Exhausted,
}

/// What its timers are for.
mod part {
    pub(super) const DELAY: u16 = 0;
    pub(super) const ATTEMPT: u16 = 1;
    pub(super) const TOTAL: u16 = 2;
}

impl TaskType for Try {
    const KEY: &'static str = "try";
    const MORE_KEYS: &'static [&'static str] = &["catch"];
    const TAG: u8 = 6;
    type Memory = Attempts;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let list = compiler.list(task.own(Self::KEY), &task.pointer.child(Self::KEY));
        let catch = compiler
            .required(task.node, "catch", "a `try` task")
            .and_then(|catch| Catch::compile(catch, task, compiler));
        Some(Self { list: list?, catch: catch? })
    }

    fn ways(&self, reach: &Reach<'_>) -> Ways {
        let Catch { retry, list, then, .. } = &self.catch;
        let is_handled = match list {
            Some(list) => reach.is_left(*list),
            None => then.is_some() || retry.is_none(),
        };
        let by_then = reach.is_left(self.list) || is_handled && then.is_none();
        Ways { by_then, directives: then.filter(|_| is_handled).into_iter().collect() }
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Attempts, Outcome), Problem> {
        let (attempt, total) = match &self.catch.retry {
            Some(policy) => policy.deadlines(cx)?,
            None => (None, None),
        };
        let attempts = Attempts { stage: Stage::Trying, retries: 0, error: None, attempt, total };
        Ok((attempts, Outcome::List(self.list, cx.input().clone())))
    }

    fn list_done(
        &self,
        attempts: &mut Attempts,
        _: &mut Cx<'_, '_>,
        _: BlockIndex,
        output: Value,
    ) -> Result<Outcome, Problem> {
        Ok(match (attempts.stage, self.catch.then) {
            (Stage::Catching, Some(then)) => Outcome::Go(output, then),
            _ => Outcome::Done(output),
        })
    }

    fn child_faulted(
        &self,
        attempts: &mut Attempts,
        cx: &mut Cx<'_, '_>,
        problem: Problem,
    ) -> Result<Outcome, Problem> {
        match attempts.stage {
            // What goes wrong while an error is handled is not handled by the same handler.
            Stage::Catching => Err(problem),
            Stage::Trying | Stage::Delayed { .. } => self.caught(attempts, cx, problem, Again::Allowed),
        }
    }

    fn wake(
        &self,
        attempts: &mut Attempts,
        cx: &mut Cx<'_, '_>,
        signal: Signal<'_>,
    ) -> Option<Result<Outcome, Problem>> {
        let Signal::Timer { part } = signal else { return None };
        let is_due = |deadline: &Deadline| deadline.due_us <= cx.now_us();
        match (part, attempts.stage) {
            (part::DELAY, Stage::Delayed { due_us }) if due_us <= cx.now_us() => {
                Some(Ok(self.begin_attempt(attempts, cx)))
            }
            (part::ATTEMPT, Stage::Trying) if attempts.attempt.as_ref().is_some_and(is_due) => {
                let problem = cut(cx, attempts.attempt, "the attempt");
                Some(self.caught(attempts, cx, problem, Again::Allowed))
            }
            (part::TOTAL, Stage::Trying) if attempts.total.as_ref().is_some_and(is_due) => {
                let problem = cut(cx, attempts.total, "all attempts together");
                Some(match attempts.error.as_ref().map(|error| Problem::from_value(error, "")) {
                    Some(Ok(last)) => self.handle(attempts, cx, last),
                    _ => self.caught(attempts, cx, problem, Again::Exhausted),
                })
            }
            _ => None,
        }
    }

    fn project(&self, attempts: &Attempts, look: &Look<'_>, to: &mut Projection) {
        let timer = |due_us, part| Timer { due_us, slot: look.slot(part) };
        match attempts.stage {
            Stage::Trying => {
                to.timers.extend(attempts.attempt.map(|attempt| timer(attempt.due_us, part::ATTEMPT)));
                to.timers.extend(attempts.total.map(|total| timer(total.due_us, part::TOTAL)));
            }
            Stage::Delayed { due_us } => to.timers.push(timer(due_us, part::DELAY)),
            Stage::Catching => {}
        }
    }

    fn wait_reason(&self, attempts: &Attempts, look: &Look<'_>) -> Option<WaitReason> {
        let Stage::Delayed { due_us } = attempts.stage else { return None };
        Some(WaitReason {
            task: look.task().pointer.clone(),
            kind: "timer",
            what: format!("retry {}", attempts.retries),
            correlate: Vec::new(),
            since_us: look.frame.started_us,
            until_us: Some(due_us),
        })
    }

    fn local<'m>(&self, attempts: &'m Attempts, name: &str) -> Option<&'m Value> {
        match attempts.stage {
            Stage::Catching if name == self.catch.as_ => attempts.error.as_ref(),
            _ => None,
        }
    }

    fn attempt(&self, attempts: &Attempts) -> Option<u32> {
        self.catch.retry.as_ref().map(|_| attempts.retries + 1)
    }

    fn begin_anew(&self, attempts: &mut Attempts, now_us: i64) {
        if attempts.stage != Stage::Catching {
            attempts.retries = 0;
            attempts.error = None;
            attempts.attempt = attempts.attempt.map(|attempt| attempt.from(now_us));
            attempts.total = attempts.total.map(|total| total.from(now_us));
        }
    }
}

impl Try {
    /// An attempt failed: it is tried again, handled or passed on.
    fn caught(
        &self,
        attempts: &mut Attempts,
        cx: &mut Cx<'_, '_>,
        problem: Problem,
        again: Again,
    ) -> Result<Outcome, Problem> {
        let error = problem.to_value();
        if !self.catch.takes(&problem, &error, cx)? {
            return Err(problem);
        }
        attempts.error = Some(error.clone());
        let delay_us = match &self.catch.retry {
            Some(policy) if again == Again::Allowed => {
                policy.delay_us(&error, &self.catch.as_, attempts.retries, attempts.total, cx)?
            }
            _ => None,
        };
        match delay_us {
            None => self.handle(attempts, cx, problem),
            Some(0) => {
                attempts.retries += 1;
                Ok(self.begin_attempt(attempts, cx))
            }
            Some(delay_us) => {
                attempts.retries += 1;
                attempts.stage = Stage::Delayed { due_us: cx.now_us().saturating_add(delay_us) };
                Ok(Outcome::Pause)
            }
        }
    }

    fn begin_attempt(&self, attempts: &mut Attempts, cx: &mut Cx<'_, '_>) -> Outcome {
        attempts.stage = Stage::Trying;
        attempts.attempt = attempts.attempt.map(|attempt| attempt.from(cx.now_us()));
        cx.retried(attempts.retries + 1);
        Outcome::List(self.list, cx.input().clone())
    }

    /// No attempt follows.
    fn handle(&self, attempts: &mut Attempts, cx: &Cx<'_, '_>, problem: Problem) -> Result<Outcome, Problem> {
        attempts.stage = Stage::Catching;
        let input = cx.input().clone();
        match (self.catch.list, self.catch.then) {
            (Some(list), _) => Ok(Outcome::List(list, input)),
            (None, Some(then)) => Ok(Outcome::Go(input, then)),
            // Nothing but another attempt was wanted.
            (None, None) if self.catch.retry.is_some() => Err(problem),
            (None, None) => Ok(Outcome::Done(input)),
        }
    }
}

/// Ends what is tried; the error comes from the try task itself.
fn cut(cx: &mut Cx<'_, '_>, deadline: Option<Deadline>, what: &str) -> Problem {
    cx.cancel_inside();
    let after = duration::to_iso(deadline.map_or(0, |deadline| deadline.after_us));
    Problem::new(ProblemKind::Timeout, format!("{what} took longer than {after}"), cx.task().pointer.as_str())
}

impl Stored for Attempts {
    fn write(&self, to: &mut Writer) {
        match self.stage {
            Stage::Trying => to.byte(0),
            Stage::Catching => to.byte(1),
            Stage::Delayed { due_us } => {
                to.byte(2);
                due_us.write(to);
            }
        }
        self.retries.write(to);
        self.error.write(to);
        self.attempt.write(to);
        self.total.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            stage: match from.byte()? {
                0 => Stage::Trying,
                1 => Stage::Catching,
                2 => Stage::Delayed { due_us: Stored::read(from)? },
                _ => return Err(SnapshotError::corrupt("a try task neither tries nor catches")),
            },
            retries: Stored::read(from)?,
            error: Stored::read(from)?,
            attempt: Stored::read(from)?,
            total: Stored::read(from)?,
        })
    }
}
