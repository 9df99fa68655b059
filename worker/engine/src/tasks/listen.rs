//! `listen`: waits for events, and with `foreach` runs a list of tasks for each.
//!
//! ```text
//! an event ─ taken by the strategy ─▶ consumed ─ without `foreach` ────────────────────────────┐
//!                                        └─ queue ─▶ do ─▶ output.as ─▶ export.as ─▶ collected ─┤
//!            one at a time, while further events are consumed into the queue ◀────────────────┘
//! closed (the strategy has enough) and nothing left to work on ─▶ output: the array
//! ```
//! What is awaited is fixed when it begins: the values of `expect` are evaluated once and kept, so that a bookmark moves
//! only when an event binds a key. Consumed stays consumed: the instance remembers the event, whatever becomes of the run.

mod foreach;
mod memory;

use std::sync::Arc;

use flagstop_schemas::StatusKind;

use self::foreach::Foreach;
pub(crate) use self::memory::Listening;
use super::{Outcome, Signal, TaskType};
use crate::api::{Bookmark, Difference, Projection, Value, WaitReason};
use crate::event::{Event, ReadAs};
use crate::filter::{Expect, Filter, FilterOf};
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::plan::BlockIndex;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::reach::{Reach, Ways};
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;
use crate::strategy::{Strategy, Taken};
use crate::value;

/// What it waits for, and what is done with it.
#[derive(Debug)]
pub(crate) struct Listen {
    to: Strategy,
    read: ReadAs,
    foreach: Option<Foreach>,
    bounds: Bounds,
}

/// The limits of one run; those of its definition, because the projection depends on them.
#[derive(Debug)]
struct Bounds {
    events_max: usize,
    bytes_max: usize,
    queue_max: usize,
    queue_bytes_max: usize,
}

const LISTEN: Keys = Keys { of: "`listen`", known: &["to", "read"], not_yet: &[] };

impl TaskType for Listen {
    const KEY: &'static str = "listen";
    const MORE_KEYS: &'static [&'static str] = &["foreach"];
    const TAG: u8 = 8;
    type Memory = Listening;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        let well_formed = compiler.mapping(node, LISTEN).is_some();
        let read = node.get("read").map_or(Some(ReadAs::Data), |read| compiler.read_as(read));
        let to = compiler.required(node, "to", LISTEN.of).filter(|_| well_formed);
        let to = to.and_then(|to| Strategy::compile(to, FilterOf::Listen, compiler));
        let foreach = task.node.get("foreach").map(|node| Foreach::compile(node, task, compiler));
        let to = to?;
        to.filters().iter().for_each(|filter| compiler.waits_for(filter.clone()));
        let limits = compiler.limits;
        let bounds = Bounds {
            events_max: limits.collected_events_max,
            bytes_max: limits.collected_bytes_max,
            // Without room for one, nothing would ever be heard.
            queue_max: limits.listen_queue_max.max(1),
            queue_bytes_max: limits.collected_bytes_max / 4,
        };
        Some(Self { to, read: read?, foreach: foreach.map_or(Some(None), |foreach| foreach.map(Some))?, bounds })
    }

    fn ways(&self, _: &Reach<'_>) -> Ways {
        Ways::by_then_if(!self.to.is_endless())
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Listening, Outcome), Problem> {
        let awaited = |expect: &Expect| match expect {
            Expect::Constant(constant) => Ok(constant.clone()),
            Expect::Expression(template) => cx.vars().eval(template, cx.input()),
        };
        let awaited = self.to.expects().map(awaited).collect::<Result<Vec<_>, _>>()?;
        cx.correlation(StatusKind::WorkflowCorrelationStarted, None);
        let mut listening = Listening::new(self.to.begin(awaited));
        if listening.progress.is_closed() {
            self.announce_end(&listening, cx);
        }
        let outcome = self.go_on(&mut listening, cx)?;
        Ok((listening, outcome))
    }

    fn wake(
        &self,
        listening: &mut Listening,
        cx: &mut Cx<'_, '_>,
        signal: Signal<'_>,
    ) -> Option<Result<Outcome, Problem>> {
        let Signal::Event { part, event } = signal else { return None };
        if self.is_full(listening) {
            return None;
        }
        let found = self.to.find_at(&listening.progress, usize::from(part), event, &cx.vars())?;
        let taken = self.to.take(&mut listening.progress, found);
        Some(self.take(taken, event, listening, cx))
    }

    fn list_done(
        &self,
        listening: &mut Listening,
        cx: &mut Cx<'_, '_>,
        _: BlockIndex,
        output: Value,
    ) -> Result<Outcome, Problem> {
        if let (Some(foreach), Some(item)) = (&self.foreach, listening.current.take()) {
            let result = foreach.result(&item, output, cx)?;
            self.collect(listening, result, cx)?;
        }
        self.go_on(listening, cx)
    }

    fn project(&self, listening: &Listening, look: &Look<'_>, to: &mut Projection) {
        if self.is_full(listening) {
            return;
        }
        let bookmark = |(number, filter): (usize, &Filter)| {
            let wanted = self.to.wanted(&listening.progress, number);
            let since_us = if filter.is_every() {
                // What came in the moment in which it opened came before.
                Some(look.frame.started_us.saturating_add(1))
            } else if filter.is_bound(&wanted) {
                // The key names this instance's own matter: what came before the instance was meant for it too.
                None
            } else {
                Some(look.instance.started_us)
            };
            Some(Bookmark { key: filter.key(&wanted)?, slot: look.slot(number as u16), since_us })
        };
        to.bookmarks.extend(self.to.open(&listening.progress).filter_map(bookmark));
    }

    fn wait_reason(&self, listening: &Listening, look: &Look<'_>) -> Option<WaitReason> {
        let open = || self.to.open(&listening.progress).filter(|_| !self.is_full(listening));
        let mut types: Vec<&str> = Vec::new();
        let mut correlate: Vec<(String, String)> = Vec::new();
        for (number, filter) in open() {
            let ty = if filter.is_every() { "any event" } else { filter.event_type().unwrap_or("any type") };
            if !types.contains(&ty) {
                types.push(ty);
            }
            for (correlation, wanted) in filter.correlations().iter().zip(self.to.wanted(&listening.progress, number)) {
                let Some(wanted) = wanted else { continue };
                let pair = (correlation.name.clone(), value::to_json(wanted));
                if !correlate.contains(&pair) {
                    correlate.push(pair);
                }
            }
        }
        (!types.is_empty()).then(|| WaitReason {
            task: look.task().pointer.clone(),
            kind: "event",
            what: types.join(", "),
            correlate,
            since_us: look.frame.started_us,
            until_us: None,
        })
    }

    fn local<'m>(&self, listening: &'m Listening, name: &str) -> Option<&'m Value> {
        let (foreach, current) = (self.foreach.as_ref()?, listening.current.as_ref()?);
        foreach.local(current, name)
    }

    fn iteration(&self, listening: &Listening) -> Option<u32> {
        let index = value::as_i64(&listening.current.as_ref()?.index)?;
        u32::try_from(index).ok()
    }
}

impl Listen {
    /// Where the event differs from the open filter that it fits best.
    pub(crate) fn differences(&self, listening: &Listening, event: &Event) -> Option<Vec<Difference>> {
        let progress = &listening.progress;
        let of = |(number, filter): (usize, &Filter)| filter.differences(event, &self.to.wanted(progress, number));
        self.to.open(progress).map(of).min_by_key(Vec::len)
    }

    /// An event was taken: it is kept, and may have been the last one.
    fn take(
        &self,
        taken: Taken,
        event: &Arc<Event>,
        listening: &mut Listening,
        cx: &mut Cx<'_, '_>,
    ) -> Result<Outcome, Problem> {
        if taken == Taken::Collected {
            let item = event.read(self.read);
            if self.foreach.is_some() {
                listening.queue.push(item.clone());
            }
            if self.sees_events() {
                self.check_room(listening, &item)?;
                listening.heard.push(item);
            }
        }
        self.check_condition(listening, cx)?;
        if listening.progress.is_closed() {
            self.announce_end(listening, cx);
        }
        self.go_on(listening, cx)
    }

    /// Begins with the next item, or ends, or waits.
    fn go_on(&self, listening: &mut Listening, cx: &mut Cx<'_, '_>) -> Result<Outcome, Problem> {
        let Some(foreach) = &self.foreach else {
            let is_done = listening.progress.is_closed();
            return Ok(if is_done { Outcome::Done(listening.heard.to_value()) } else { Outcome::Pause });
        };
        while listening.current.is_none() {
            let Some(item) = listening.next_item() else {
                let is_done = listening.progress.is_closed();
                return Ok(if is_done { Outcome::Done(listening.results.to_value()) } else { Outcome::Pause });
            };
            let input = item.item.clone();
            if let Some(list) = foreach.list {
                listening.current = Some(item);
                return Ok(Outcome::List(list, input));
            }
            let result = foreach.result(&item, input, cx)?;
            self.collect(listening, result, cx)?;
        }
        Ok(Outcome::Pause)
    }

    /// One item is worked on. What it exported may be what `until` waits for.
    fn collect(&self, listening: &mut Listening, result: Value, cx: &mut Cx<'_, '_>) -> Result<(), Problem> {
        if !self.to.is_endless() {
            self.check_room(listening, &result)?;
            listening.results.push(result);
        }
        if listening.progress.is_closed() {
            return Ok(());
        }
        self.check_condition(listening, cx)?;
        if listening.progress.is_closed() {
            self.announce_end(listening, cx);
        }
        Ok(())
    }

    /// `until` as a condition sees the array so far, as `read` gives it.
    fn check_condition(&self, listening: &mut Listening, cx: &Cx<'_, '_>) -> Result<(), Problem> {
        if let Some(condition) = self.to.condition()
            && !self.to.is_endless()
            && cx.vars().condition(condition, &listening.heard.to_value())?
        {
            listening.progress.close();
        }
        Ok(())
    }

    /// Whether the events themselves are needed after they were heard: by `until`, or as the output.
    fn sees_events(&self) -> bool {
        !self.to.is_endless() && (self.foreach.is_none() || self.to.condition().is_some())
    }

    fn announce_end(&self, listening: &Listening, cx: &mut Cx<'_, '_>) {
        let keys = self.to.keys(&listening.progress);
        cx.correlation(StatusKind::WorkflowCorrelationCompleted, keys.as_ref());
    }

    /// The queue takes no more: events wait outside until it does.
    fn is_full(&self, listening: &Listening) -> bool {
        let queue = &listening.queue;
        queue.len() >= self.bounds.queue_max || queue.bytes() >= self.bounds.queue_bytes_max
    }

    fn check_room(&self, listening: &Listening, more: &Value) -> Result<(), Problem> {
        let Bounds { events_max, bytes_max, .. } = self.bounds;
        let bytes = listening.heard.bytes() + listening.results.bytes() + value::size_bytes(more);
        let what = if listening.heard.len().max(listening.results.len()) >= events_max {
            format!("more than {events_max} events (limit `collected_events_max`)")
        } else if bytes > bytes_max {
            format!("more than {bytes_max} bytes of events (limit `collected_bytes_max`)")
        } else {
            return Ok(());
        };
        let why = format!("FS-LISTEN-FULL: this listen has collected {what}; let `until` end it earlier");
        Err(Problem::new(ProblemKind::Runtime, why, ""))
    }
}

/// Checks a `foreach` that stands elsewhere and is not run.
pub(super) fn check_foreach(node: &Node, holder: &TaskNode<'_>, compiler: &mut Compiler<'_>) {
    Foreach::compile(node, holder, compiler);
}
