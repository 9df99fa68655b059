//! Runs one case: the world in virtual time, with the script and the mocks around it.
//!
//! At one moment: the start, then events in the order of the file, then commands, then what is due (answers and timers, as one
//! batch), until nothing more happens; then events that wait for the instance to wait; then the time moves.

use std::collections::VecDeque;
use std::sync::Arc;

use flagstop_engine::api::Phase;
use flagstop_engine::{Limits, Plan, duration, value};
use flagstop_schemas::{CloudEvent, InstanceId};

use super::call::Calls;
use super::documents;
use super::file::Workflow;
use super::mock::Mock;
use super::model::{Case, When};
use super::record::{Fate, Found, Record};
use super::{Failure, events};
use crate::world::{Command, Keep, Kill, Options, Output, Scheduling, World};

/// Pieces of work after which a case counts as endless.
const STEPS_MAX: u64 = 500_000;

/// Instances of one case, so that workflows that start each other do not fill the memory.
const INSTANCES_MAX: u64 = 50_000;

/// Runs a case. The failures are what forbids to judge it at all.
pub(super) fn run(case: &Case, workflows: &[Workflow], kill: Kill, limits: &Limits) -> (Found, Vec<Failure>) {
    let mock = Mock::new(case, limits);
    let mut stage = Stage::new(case, kill, &mock, limits);
    match documents::plans(workflows, case, &mock, &stage.calls.http(), limits) {
        Ok(plans) => {
            stage.plans = plans;
            stage.run();
        }
        Err(failure) => stage.failures.push(failure),
    }
    stage.conclude()
}

struct Stage<'m> {
    case: &'m Case,
    plans: Vec<Arc<Plan>>,
    world: World,
    mock: &'m Mock<'m>,
    calls: Calls<'m>,
    /// Those with a time, by time; of the same time in the order of the file.
    timed_events: VecDeque<(i64, CloudEvent)>,
    waiting_events: VecDeque<CloudEvent>,
    commands: VecDeque<(i64, Command)>,
    now_us: i64,
    /// Whether the first workflow was started, not only deployed.
    is_started: bool,
    judged: Option<InstanceId>,
    record: Record,
    requests_logged: usize,
    failures: Vec<Failure>,
    steps: u64,
}

/// Whether a case goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    End,
}

impl<'m> Stage<'m> {
    fn new(case: &'m Case, kill: Kill, mock: &'m Mock<'m>, limits: &'m Limits) -> Self {
        let options = Options { limits: limits.clone(), secrets: case.secrets.clone(), seed: 0, kill, keep: Keep::All };
        let mut timed_events = Vec::new();
        let mut waiting_events = VecDeque::new();
        for event in &case.events {
            match event.when {
                When::At(at_us) => timed_events.push((case.clock_us.saturating_add(at_us), event.event.clone())),
                When::Waiting => waiting_events.push_back(event.event.clone()),
            }
        }
        timed_events.sort_by_key(|(at_us, _)| *at_us);
        let mut commands: Vec<_> =
            case.commands.iter().map(|c| (case.clock_us.saturating_add(c.at_us), c.command)).collect();
        commands.sort_by_key(|(at_us, _)| *at_us);
        Self {
            case,
            plans: Vec::new(),
            world: World::new(options, case.clock_us),
            mock,
            calls: Calls::new(mock, limits),
            timed_events: timed_events.into(),
            waiting_events,
            commands: commands.into(),
            now_us: case.clock_us,
            is_started: false,
            judged: None,
            record: Record::new(case.clock_us, case.expect.looks_at_lifecycle()),
            requests_logged: 0,
            failures: Vec::new(),
            steps: 0,
        }
    }

    fn run(&mut self) {
        self.begin();
        while self.settle() == Go::On {
            if self.happen() || self.due() {
                continue;
            }
            match self.next_us() {
                Some(next_us) => self.move_to(next_us),
                None => return,
            }
        }
    }

    fn begin(&mut self) {
        let plans = self.plans.clone();
        let Some((first, others)) = plans.split_first() else { return };
        self.is_started = self.case.input.is_some() || first.schedule().is_empty();
        // An instance that is started beside its own schedule would never be alone with its expectations.
        self.world.deploy(first.clone(), if self.is_started { Scheduling::EventsOnly } else { Scheduling::All });
        for plan in others {
            self.world.deploy(plan.clone(), Scheduling::All);
        }
        if self.is_started {
            let of = first.reference();
            let id = InstanceId::of_trigger("/flagstop/test", &self.case.name, &of.namespace, &of.name);
            let input = self.case.input.clone().unwrap_or(value::Value::Null);
            self.world.start(first, id, input);
        }
    }

    /// Does all that follows by itself at this moment, answers aside.
    fn settle(&mut self) -> Go {
        loop {
            while self.world.step() {
                self.steps += 1;
                self.take_outputs();
                if self.steps > STEPS_MAX || self.world.started() > INSTANCES_MAX {
                    let message = format!(
                        "the case does not come to an end: {} pieces of work, {} instances, virtual time {}; say when to judge it with `until`",
                        self.steps,
                        self.world.started(),
                        duration::to_iso(self.elapsed_us())
                    );
                    self.failures.push(Failure::new("until", message));
                    return Go::End;
                }
            }
            self.calls.poll();
            self.log_requests();
            if !self.world.has_work() {
                break;
            }
        }
        for what in self.mock.unmatched() {
            self.failures.push(Failure::new("http", format!("no rule fits: {what}")));
        }
        if self.failures.is_empty() { Go::On } else { Go::End }
    }

    fn take_outputs(&mut self) {
        for output in self.world.take_outputs() {
            match output {
                Output::Begin { instance, effect } => {
                    if let Err(defect) = self.calls.begin(instance, effect) {
                        self.failures.push(Failure::new("faults", defect));
                    }
                }
                Output::Drop { instance, slot } => self.calls.forget(instance, slot),
                Output::Journal { instance, header, entries } => {
                    if self.judged.is_none() {
                        let first = self.plans.first().and_then(|plan| self.world.instances(plan).next());
                        self.judged = first.map(flagstop_engine::Instance::id);
                    }
                    let at_us = self.elapsed_us();
                    self.record.journal(&header, entries, self.judged == Some(instance), at_us);
                }
            }
        }
    }

    /// What the script has for this moment: one event, or one command.
    fn happen(&mut self) -> bool {
        if self.timed_events.front().is_some_and(|(at_us, _)| *at_us <= self.now_us)
            && let Some((_, event)) = self.timed_events.pop_front()
        {
            self.publish(event);
            return true;
        }
        if self.commands.front().is_some_and(|(at_us, _)| *at_us <= self.now_us)
            && let Some((_, command)) = self.commands.pop_front()
        {
            self.record.log(self.elapsed_us(), "command", format!("{command:?}").to_ascii_lowercase(), "");
            if let Some(judged) = self.judged {
                self.world.command(judged, command);
            }
            return true;
        }
        false
    }

    fn publish(&mut self, mut event: CloudEvent) {
        event.time.get_or_insert_with(|| rfc3339(self.now_us));
        self.record.log(self.elapsed_us(), "event", event.ty.clone(), &events::data_text(&event));
        self.world.publish(event);
    }

    /// What is due at this moment: answers and timers; then an event for which the instance waits.
    fn due(&mut self) -> bool {
        let answers = self.calls.take_ended();
        if !answers.is_empty() || self.world.next_due_us().is_some_and(|due_us| due_us <= self.now_us) {
            self.world.fire(answers);
            return true;
        }
        if self.is_waiting()
            && let Some(event) = self.waiting_events.pop_front()
        {
            self.publish(event);
            return true;
        }
        false
    }

    /// The instance can go on only by an event, a timer or a command, and a listen is active: its own, or that of another
    /// instance when nothing at all is in flight.
    fn is_waiting(&self) -> bool {
        let judged = self.judged.and_then(|id| self.world.instance(id));
        if let Some(judged) = judged {
            if judged.phase() == Phase::Suspended || self.calls.has(judged.id()) {
                return false;
            }
            if self.world.is_listening(judged.id()) {
                return true;
            }
        }
        self.calls.is_empty() && self.world.is_anybody_listening()
    }

    /// When something happens next; `None`: never, or after the case is judged.
    fn next_us(&mut self) -> Option<i64> {
        if self.has_ended_for_good() {
            self.timed_events.clear();
            self.waiting_events.clear();
            self.commands.clear();
        }
        let script = [self.timed_events.front().map(|(at, _)| *at), self.commands.front().map(|(at, _)| *at)];
        let others = [self.world.next_due_us(), self.mock.next_due_us()];
        let next_us = script.into_iter().chain(others).flatten().min()?;
        let until_us = self.case.until_us.map(|until_us| self.case.clock_us.saturating_add(until_us));
        (until_us.is_none_or(|until_us| next_us <= until_us)).then_some(next_us)
    }

    /// What the script has for later than the end of the instance is not looked at.
    fn has_ended_for_good(&self) -> bool {
        let judged = self.judged.and_then(|id| self.world.instance(id));
        let has_retry = self.commands.iter().any(|(_, command)| *command == Command::Retry);
        self.is_started
            && judged
                .is_some_and(|judged| judged.phase().has_ended() && !(judged.phase() == Phase::Faulted && has_retry))
    }

    fn move_to(&mut self, next_us: i64) {
        self.now_us = self.now_us.max(next_us);
        self.mock.set_now(self.now_us);
        self.world.set_now(self.now_us);
        // Answers that are due now belong to the same batch as the timers, but after the script's events and commands.
        self.calls.poll();
    }

    fn log_requests(&mut self) {
        if self.mock.requests_count() == self.requests_logged {
            return;
        }
        for sent in self.mock.requests().into_iter().skip(self.requests_logged) {
            self.requests_logged += 1;
            let body = sent.body.as_ref().map(value::to_json).unwrap_or_default();
            self.record.log(self.elapsed_us(), "request", format!("{} {}", sent.method, sent.url), &body);
        }
    }

    fn elapsed_us(&self) -> i64 {
        self.now_us - self.case.clock_us
    }

    fn conclude(mut self) -> (Found, Vec<Failure>) {
        let defects = self.world.defects().iter().chain(&self.record.violations);
        self.failures.extend(defects.map(|defect| Failure::new("faults", defect.clone())));
        let instances = self.plans.first().into_iter().flat_map(|plan| self.world.instances(plan));
        let instances = instances.map(Fate::of).collect();
        let times = self.judged.and_then(|id| self.world.times_us(id));
        let ended = times.and_then(|(started_us, ended_us)| Some((started_us, ended_us?)));
        let found = Found {
            requests: self.mock.requests(),
            instances,
            elapsed_us: ended.map(|(started_us, ended_us)| ended_us - started_us),
            since_deployed_us: ended.map(|(_, ended_us)| ended_us - self.case.clock_us),
            record: self.record,
        };
        (found, self.failures)
    }
}

fn rfc3339(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us).map_or_else(|_| "9999-12-31T23:59:59Z".to_owned(), |time| time.to_string())
}
