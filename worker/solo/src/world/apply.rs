//! One transition and what follows from it.

use std::collections::HashMap;

use flagstop_engine::api::{
    ChildOutcome, ChildStart, Effect, Env, Phase, Projection, Rejected, Stimulus, Transition, Value,
};
use flagstop_engine::{Instance, apply};
use flagstop_schemas::Entry;

use super::run::Run;
use super::{Awaiting, Command, Keep, Kill, Output, Start, Work, World};

/// A start or a retry that would make a second live instance of one activation key.
const ALREADY_ACTIVE: Rejected = Rejected::Illegal("another instance lives under the same activation key");

impl World {
    pub(super) fn perform(&mut self, work: Work) {
        match work {
            Work::Start(start) => self.start_now(start),
            Work::Apply { run, stimulus, attempt } => {
                let slot = match &stimulus {
                    Stimulus::Effect { slot, .. } | Stimulus::Child { slot, .. } => Some(*slot),
                    _ => None,
                };
                let newest = slot.and_then(|slot| self.runs.get(&run)?.attempt(slot));
                if slot.is_none() || newest == attempt {
                    // What comes too late, or twice, changes nothing.
                    let _late = self.apply(run, stimulus);
                }
            }
            Work::Command { run, command, id } => {
                if self.commands_seen.insert(id) {
                    // One that does not fit the phase is ignored.
                    let _refused = self.apply(run, command.stimulus());
                }
            }
            Work::Publish(event) => self.publish_now(event),
            Work::Look { run, slots, after } => self.look(run, slots, after),
        }
    }

    fn start_now(&mut self, start: Start) {
        if self.numbers.contains_key(&start.id) {
            return;
        }
        let number = self.started;
        self.started += 1;
        let run = Run {
            instance: Instance::new(start.id, &start.plan),
            plan: start.plan,
            projection: Projection::default(),
            started_us: self.now_us,
            ended_us: None,
            started_after: self.parked.last(),
            parent: start.parent,
            schedule: start.schedule,
            attempts_last: 0,
            attempts: HashMap::new(),
            heard: start.heard.into_iter().collect(),
        };
        self.numbers.insert(start.id, number);
        self.runs.insert(number, run);
        let Start { input, cause, depth, collected: heard, .. } = start;
        let stimulus = Stimulus::Start { input, cause, depth, heard };
        match self.apply(number, stimulus) {
            Ok(()) => {}
            Err(ALREADY_ACTIVE) => self.never_was(number),
            Err(why) => self.defects.push(format!("a new instance was not started: {why}")),
        }
    }

    /// An instance that may not live: whoever awaits it hears that it did not begin, and a schedule counts on from now. Its
    /// number stays, so that its trigger, delivered once more, is known.
    fn never_was(&mut self, number: u64) {
        let Some(run) = self.runs.remove(&number) else { return };
        if let Some(Awaiting { run: parent, slot, attempt }) = run.parent {
            let stimulus = Stimulus::Child { slot, outcome: ChildOutcome::Cancelled };
            self.queue.push_back(Work::Apply { run: parent, stimulus, attempt });
        }
        if let Some(schedule) = run.schedule {
            self.scheduled_run_ended(schedule);
        }
    }

    /// Does another instance live under this one's activation key?
    fn lives_beside(&self, number: u64, instance: &Instance) -> bool {
        let Some(key) = instance.activation() else { return false };
        let lives = |run: &Run| run.instance.activation() == Some(key) && !run.instance.phase().has_ended();
        self.runs.iter().any(|(other, run)| *other != number && lives(run))
    }

    /// One transition. What follows from it is put into the queue.
    pub(super) fn apply(&mut self, number: u64, stimulus: Stimulus) -> Result<(), Rejected> {
        let run = self.runs.get(&number).ok_or(Rejected::Ended)?;
        if let Stimulus::Timer { slot } = &stimulus {
            let is_due = |timer: &&flagstop_engine::api::Timer| timer.slot == *slot && timer.due_us <= self.now_us;
            run.projection.timers.iter().find(is_due).ok_or(Rejected::NotWaiting)?;
        }
        let env = Env { seed: self.options.seed ^ number, ..self.env() };
        let mut transition = apply(&run.plan, &run.instance, stimulus, &env)?;
        let had_begun = !matches!(run.instance.phase(), Phase::Pending) && !run.instance.phase().has_ended();
        let lives_now = !had_begun && !transition.instance.phase().has_ended();
        if lives_now && self.lives_beside(number, &transition.instance) {
            return Err(ALREADY_ACTIVE);
        }
        let mut again = Vec::new();
        if self.options.kill == Kill::EveryCommit {
            match run.reborn(&transition.instance, &env) {
                Ok((instance, effects)) => {
                    let is_again = |effect: &Effect| effects.iter().any(|again| again.slot == effect.slot);
                    if !transition.effects.iter().all(is_again) {
                        self.defects.push("an effect in flight can't be begun again from the snapshot".to_owned());
                    }
                    (transition.instance, again) = (instance, effects);
                }
                Err(defect) => self.defects.push(defect),
            }
        }
        self.commit(number, transition, again);
        Ok(())
    }

    fn commit(&mut self, number: u64, transition: Transition, again: Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        for effect in &transition.effects {
            run.begin_attempt(effect.slot);
        }
        let before = run.instance.phase();
        run.instance = transition.instance;
        let id = run.instance.id();
        let phase = run.instance.phase();
        let projection = run.instance.projection(&run.plan);
        let old = std::mem::replace(&mut run.projection, projection);
        let header = run.header();
        let new_slots = self.write_lookups(number, &old);
        self.outbox.extend(transition.dropped_effects.into_iter().map(|slot| Output::Drop { instance: id, slot }));
        let effects = if again.is_empty() { transition.effects } else { again };
        self.outbox.extend(effects.into_iter().map(|effect| Output::Begin { instance: id, effect }));
        if !new_slots.is_empty() {
            self.queue.push_front(Work::Look { run: number, slots: new_slots, after: 0 });
        }
        for child in transition.children {
            self.start_child(number, child);
        }
        for entry in &transition.events {
            if let Entry::Emitted(event) = entry {
                self.queue.push_back(Work::Publish((**event).clone()));
            }
        }
        if !transition.events.is_empty() {
            self.outbox.push(Output::Journal { instance: id, header, entries: transition.events });
        }
        for child in transition.cancelled_children {
            if let Some(run) = self.numbers.get(&child).copied() {
                self.queue.push_back(Work::Apply { run, stimulus: Stimulus::Cancel, attempt: None });
            }
        }
        if transition.more {
            self.queue.push_back(Work::Apply { run: number, stimulus: Stimulus::Proceed, attempt: None });
        }
        match (before.has_ended(), phase.has_ended()) {
            (false, true) => self.ended(number),
            (true, false) => {
                if let Some(run) = self.runs.get_mut(&number) {
                    run.ended_us = None;
                }
            }
            _ => {}
        }
    }

    /// Brings the lookups up to the projection; gives the slots of bookmarks that are new.
    fn write_lookups(&mut self, number: u64, old: &Projection) -> Vec<i64> {
        let new = &self.runs[&number].projection;
        if old == new {
            return Vec::new();
        }
        for bookmark in old.bookmarks.iter().filter(|b| new.bookmarks.binary_search(b).is_err()) {
            if let Some(waits) = self.waiters.get_mut(&bookmark.key) {
                waits.remove(&(number, bookmark.slot));
                if waits.is_empty() {
                    self.waiters.remove(&bookmark.key);
                }
            }
        }
        let mut slots = Vec::new();
        // Projections are sorted.
        for bookmark in new.bookmarks.iter().filter(|bookmark| old.bookmarks.binary_search(bookmark).is_err()) {
            self.waiters.entry(bookmark.key).or_default().insert((number, bookmark.slot));
            slots.push(bookmark.slot);
        }
        for timer in &old.timers {
            self.timers.remove(&(timer.due_us, number, timer.slot));
        }
        self.timers.extend(new.timers.iter().map(|timer| (timer.due_us, number, timer.slot)));
        slots
    }

    fn start_child(&mut self, parent: u64, child: ChildStart) {
        let awaiting = child.slot.map(|slot| {
            let attempt = self.runs.get_mut(&parent).map(|run| run.begin_attempt(slot));
            Awaiting { run: parent, slot, attempt }
        });
        if let Some(plan) = self.plan(&child.namespace, &child.name, child.version.as_ref()) {
            let ChildStart { id, input, depth, .. } = child;
            let start = Start { depth, parent: awaiting, ..Start::new(id, plan, input) };
            return self.queue.push_back(Work::Start(start));
        }
        if let Some(Awaiting { run, slot, attempt }) = awaiting {
            let version = child.version.map(|version| format!(" {version}")).unwrap_or_default();
            let reason = format!("no definition {}/{}{version} is deployed", child.namespace, child.name);
            let stimulus = Stimulus::Child { slot, outcome: ChildOutcome::NotStarted { reason } };
            self.queue.push_back(Work::Apply { run, stimulus, attempt });
        }
    }

    fn ended(&mut self, number: u64) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        run.ended_us = Some(self.now_us);
        let schedule = run.schedule.take();
        if let Some(Awaiting { run: parent, slot, attempt }) = run.parent {
            let instance = &run.instance;
            let outcome = match (instance.phase(), instance.error()) {
                (Phase::Cancelled, _) => ChildOutcome::Cancelled,
                (_, Some(error)) => ChildOutcome::Faulted(error.clone()),
                _ => ChildOutcome::Completed(instance.output().cloned().unwrap_or(Value::Null)),
            };
            let stimulus = Stimulus::Child { slot, outcome };
            self.queue.push_back(Work::Apply { run: parent, stimulus, attempt });
        }
        if self.options.keep == Keep::First && number > 0 {
            let id = run.instance.id();
            self.runs.remove(&number);
            self.numbers.remove(&id);
        }
        if let Some(schedule) = schedule {
            self.scheduled_run_ended(schedule);
        }
    }
}

impl Command {
    fn stimulus(self) -> Stimulus {
        match self {
            Self::Cancel => Stimulus::Cancel,
            Self::Suspend => Stimulus::Suspend,
            Self::Continue => Stimulus::Continue,
            Self::Retry => Stimulus::Retry,
        }
    }
}
