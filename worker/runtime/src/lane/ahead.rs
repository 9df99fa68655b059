//! How a lane lets instances run ahead of their stored state, and writes them in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flagstop_schemas::InstanceId;
use flagstop_store::rows::EffectLease;

use super::Lane;
use crate::ahead::{Ahead, EPOCH};
use crate::catalogue::Route;
use crate::decide::{Decided, Decision};
use crate::intake::{Item, Poke};
use crate::work::Work;

/// What is known of an instance that has run ahead, beside the instance itself.
pub(super) struct Run {
    until: Instant,
    behind: Vec<Item>,
}

/// Puts those that come back behind the batch, each with the items that led to it.
pub(super) fn unpack(
    back: Vec<Ahead>,
    items: &mut Vec<Item>,
    routes: &mut Vec<Route>,
) -> (Vec<Work>, BTreeMap<InstanceId, Run>) {
    let mut runs = BTreeMap::new();
    let unpack = |mut ahead: Ahead| {
        let begin = items.len();
        for (item, route) in ahead.items {
            items.push(item);
            routes.push(route);
        }
        ahead.work.items = (begin..items.len()).collect();
        runs.insert(ahead.work.id(), Run { until: ahead.until, behind: ahead.behind });
        ahead.work
    };
    (back.into_iter().map(unpack).collect(), runs)
}

impl Lane {
    /// Must something be written that nothing in hand leads to?
    pub(super) fn must_write(&self) -> bool {
        self.aheads.is_due() || (!self.aheads.is_empty() && self.must_not_run_ahead())
    }

    fn must_not_run_ahead(&self) -> bool {
        self.trying || self.drain.is_cancelled()
    }

    /// Those that go on in this round: by an answer, or because they must be written.
    pub(super) fn come_back(&mut self, items: &[Item]) -> Vec<Ahead> {
        if self.must_not_run_ahead() {
            return self.aheads.take_all();
        }
        let mut back = self.aheads.take_answered(items);
        back.extend(self.aheads.take_due());
        back
    }

    /// Makes the calls of those that may run ahead, and has the others written. Gives what need no longer stay behind.
    pub(super) fn run_ahead(
        &mut self,
        decision: &mut Decision,
        items: &mut [Option<Item>],
        routes: &mut [Route],
        mut runs: BTreeMap<InstanceId, Run>,
        now_us: i64,
    ) -> Vec<Item> {
        let now = Instant::now();
        let whole = Duration::from_millis(self.shared.options.ahead_ms);
        for mut work in std::mem::take(&mut decision.ahead) {
            let id = work.id();
            let mut until = runs.get(&id).map_or(now + whole, |run| run.until);
            if let Some(timer) = work.projection().timers.iter().map(|timer| timer.due_us).min() {
                let left_us = u64::try_from(timer - now_us).unwrap_or(0);
                until = until.min(now + Duration::from_micros(left_us));
            }
            if until <= now || self.must_not_run_ahead() || !self.shared.pokes.hold(id, self.number) {
                decision.groups.push(work.fold(&self.shared.options.engine));
                continue;
            }
            let mut led_here = Vec::new();
            for index in std::mem::take(&mut work.items) {
                match items[index].take() {
                    // It has been heard, and is of no use when the instance begins again.
                    Some(Item::Poke(_, Poke::Effect { lease, .. })) => self.effects.forget(&lease),
                    Some(item) => led_here.push((item, std::mem::take(&mut routes[index]))),
                    None => {}
                }
            }
            for effect in work.unasked() {
                self.effects.submit(EffectLease { instance: id, slot: effect.slot, epoch: EPOCH }, effect);
            }
            let behind = runs.remove(&id).map(|run| run.behind).unwrap_or_default();
            self.aheads.put(Ahead { work, items: led_here, until, behind });
        }
        runs.keys().for_each(|id| self.shared.pokes.let_go(*id));
        runs.into_values().flat_map(|run| run.behind).collect()
    }

    /// The instance begins again with what is stored of it: what was made ahead of that is no longer its own.
    pub(super) fn fall_back(&self, decided: &Decided, mine: &mut Vec<(Item, &Route)>) {
        let Some(instance) = decided.instance else { return };
        for effect in &decided.effects {
            self.effects.withdraw(instance, effect.slot);
        }
        mine.retain(|(item, _)| match item {
            Item::Poke(_, Poke::Effect { lease, .. }) if lease.epoch == EPOCH => {
                self.effects.forget(lease);
                false
            }
            _ => true,
        });
    }
}
