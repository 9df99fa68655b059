//! `wait`: goes on at a later time.

use super::{Outcome, Signal, TaskType};
use crate::api::{Projection, Timer, WaitReason};
use crate::duration;
use crate::expr::Template;
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::{Problem, ProblemKind};
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};

/// How long.
#[derive(Debug)]
pub(crate) struct Wait {
    duration: Template,
}

/// Until when: absolute, so that neither a crash nor a slow worker makes it longer.
#[derive(Debug, Clone)]
pub(crate) struct Until {
    due_us: i64,
}

const DURATION: Keys = Keys { of: "a duration", known: &duration::PART_NAMES, not_yet: &[] };

impl TaskType for Wait {
    const KEY: &'static str = "wait";
    const TAG: u8 = 5;
    type Memory = Until;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        Some(Self { duration: compiler.duration(task.own(Self::KEY), DURATION)? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Until, Outcome), Problem> {
        let wanted = cx.vars().eval(&self.duration, cx.input())?;
        let duration_us = duration::from_value(&wanted, cx.limits().duration_days_max)
            .map_err(|why| Problem::new(ProblemKind::Expression, why.to_string(), ""))?;
        let due_us = cx.now_us().saturating_add(duration_us);
        let outcome = if duration_us == 0 { Outcome::Done(cx.input().clone()) } else { Outcome::Pause };
        Ok((Until { due_us }, outcome))
    }

    fn wake(&self, until: &mut Until, cx: &mut Cx<'_, '_>, signal: Signal<'_>) -> Option<Result<Outcome, Problem>> {
        let is_due = matches!(signal, Signal::Timer { part: 0 }) && cx.now_us() >= until.due_us;
        is_due.then(|| Ok(Outcome::Done(cx.input().clone())))
    }

    fn project(&self, until: &Until, look: &Look<'_>, to: &mut Projection) {
        to.timers.push(Timer { due_us: until.due_us, slot: look.slot(0) });
    }

    fn wait_reason(&self, until: &Until, look: &Look<'_>) -> Option<WaitReason> {
        Some(WaitReason {
            task: look.task().pointer.clone(),
            kind: "timer",
            what: duration::to_iso(until.due_us - look.frame.started_us),
            correlate: Vec::new(),
            since_us: look.frame.started_us,
            until_us: Some(until.due_us),
        })
    }
}

impl Stored for Until {
    fn write(&self, to: &mut Writer) {
        self.due_us.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { due_us: Stored::read(from)? })
    }
}
