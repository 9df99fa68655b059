//! What starts instances by itself: the clock, and events that are collected before an instance starts.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use flagstop_engine::api::Value;
use flagstop_engine::schedule::{Fed, NewSet, OpenSets};
use flagstop_engine::{Event, Plan};
use flagstop_schemas::{Hash16, InstanceId};

use super::{Deployed, Scheduling, Start, Work, World};

/// Due times and open sets, by the definition's place in the order of deployment.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    /// When, whose, and which of its rules.
    due: BTreeSet<(i64, usize, usize)>,
    sets: HashMap<(usize, Hash16), OpenSets>,
}

impl Schedules {
    pub(super) fn next_due_us(&self) -> Option<i64> {
        self.due.first().map(|(due_us, ..)| *due_us)
    }

    /// From now on the clock counts for this definition.
    pub(super) fn begin(&mut self, owner: usize, plan: &Plan, now_us: i64) {
        for (rule, timed) in plan.schedule().timed().iter().enumerate() {
            self.due.extend(timed.first_us(now_us).map(|due_us| (due_us, owner, rule)));
        }
    }

    /// A newer version has its schedule now.
    pub(super) fn end(&mut self, owner: usize) {
        self.due.retain(|(_, of, _)| *of != owner);
    }
}

impl World {
    /// Starts what the clock starts by now.
    pub(super) fn fire_schedules(&mut self) {
        while let Some((due_us, owner, rule)) =
            self.schedules.due.first().copied().filter(|(due, ..)| *due <= self.now_us)
        {
            self.schedules.due.pop_first();
            let plan = self.deployed[owner].plan.clone();
            let Some(timed) = plan.schedule().timed().get(rule) else { continue };
            let firing = timed.fired(due_us, self.now_us);
            self.schedules.due.extend(firing.next_us.map(|next_us| (next_us, owner, rule)));
            if firing.run {
                let of = plan.reference();
                let source = format!("/flagstop/schedule/{}", timed.name());
                let id = InstanceId::of_trigger(&source, &due_us.to_string(), &of.namespace, &of.name);
                let schedule = Some((owner, rule));
                self.queue.push_back(Work::Start(Start { schedule, ..Start::new(id, plan, Value::Null) }));
            }
        }
    }

    /// A run that the clock started has ended; the next one may count from there.
    pub(super) fn scheduled_run_ended(&mut self, (owner, rule): (usize, usize)) {
        let timed = self.deployed[owner].plan.schedule().timed().get(rule);
        let next_us = timed.and_then(|timed| timed.after_end_us(self.now_us));
        if self.deployed[owner].scheduling == Scheduling::All {
            self.schedules.due.extend(next_us.map(|next_us| (next_us, owner, rule)));
        }
    }

    /// Starts what this event starts, at once or as the last of a set. False: it starts nothing, and no set takes it.
    pub(super) fn start_by_event(&mut self, event: &Event, number: u64) -> bool {
        let mut is_wanted = false;
        for owner in 0..self.deployed.len() {
            let Deployed { plan, scheduling } = &self.deployed[owner];
            if *scheduling == Scheduling::None {
                continue;
            }
            let plan = plan.clone();
            if plan.schedule().triggers().iter().any(|filter| filter.accepts(event)) {
                is_wanted = true;
                self.start_triggered(&plan, event, plan.trigger_input(event), (number, Vec::new()));
            }
            if let Some(key) = plan.schedule().sets().and_then(|sets| sets.key(event)) {
                is_wanted = true;
                self.feed(owner, &plan, key, event, number);
            }
        }
        is_wanted
    }

    fn feed(&mut self, owner: usize, plan: &Arc<Plan>, key: Hash16, event: &Event, number: u64) {
        let Some(sets) = plan.schedule().sets() else { return };
        let open = self.schedules.sets.remove(&(owner, key)).unwrap_or_default();
        let rest = match sets.feed(&open, event, NewSet::Open) {
            Ok(Fed::Ignored | Fed::Heard) => open,
            Ok(Fed::Kept(after)) => after,
            Ok(Fed::Complete { rest, input, heard }) => {
                self.start_triggered(plan, event, input, (number, heard));
                rest
            }
            Err(why) => {
                self.defects.push(why.to_string());
                open
            }
        };
        if !rest.is_empty() {
            let stored = self.stored(rest);
            self.schedules.sets.insert((owner, key), stored);
        }
    }

    /// The sets as another worker finds them.
    fn stored(&mut self, sets: OpenSets) -> OpenSets {
        if self.options.kill == super::Kill::Never {
            return sets;
        }
        OpenSets::decode(&sets.encode()).unwrap_or_else(|why| {
            self.defects.push(format!("open sets that were just written can't be read: {why}"));
            sets
        })
    }

    fn start_triggered(&mut self, plan: &Arc<Plan>, event: &Event, input: Value, heard: (u64, Vec<Hash16>)) {
        let (envelope, reference) = (event.envelope(), plan.reference());
        let id = InstanceId::of_trigger(&envelope.source, &envelope.id, &reference.namespace, &reference.name);
        let cause = Some((envelope.id.clone(), envelope.source.clone()));
        let (number, collected) = heard;
        let start = Start { cause, heard: Some(number), collected, ..Start::new(id, plan.clone(), input) };
        self.queue.push_back(Work::Start(start));
    }
}
