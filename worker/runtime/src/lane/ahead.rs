//! How a lane lets instances run ahead of their stored state, and writes them in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flagstop_engine::api::EffectOutcome;
use flagstop_schemas::InstanceId;
use flagstop_store::rows::EffectLease;

use super::Lane;
use crate::ahead::Ahead;
use crate::catalogue::Route;
use crate::decide::Decision;
use crate::effects::Flight;
use crate::intake::Item;
use crate::work::Work;

/// An instance that has run ahead, while it is decided and written.
pub(super) struct Run {
    until: Instant,
    pub(super) behind: Vec<Item>,
    /// Its calls under way. Dropped, they are given up.
    pub(super) flights: BTreeMap<i64, Flight>,
}

/// Those that have run ahead and take part in a round.
pub(super) type Runs = BTreeMap<InstanceId, Run>;

/// What a decision takes of one: where it is, and the answers that it got.
pub(crate) type Returned = (Work, Vec<(i64, EffectOutcome)>);

/// Puts those that come back behind the batch, each with the items that led to it.
pub(super) fn unpack(back: Vec<Ahead>, items: &mut Vec<Item>, routes: &mut Vec<Route>) -> (Vec<Returned>, Runs) {
    let mut runs = Runs::new();
    let unpack = |mut ahead: Ahead| {
        let begin = items.len();
        for (item, route) in ahead.items {
            items.push(item);
            routes.push(route);
        }
        ahead.work.items = (begin..items.len()).collect();
        let run = Run { until: ahead.until, behind: ahead.behind, flights: ahead.flights };
        runs.insert(ahead.work.id(), run);
        (ahead.work, ahead.answers)
    };
    (back.into_iter().map(unpack).collect(), runs)
}

impl Lane {
    /// Is there something to do that nothing in hand leads to?
    pub(super) fn must_look(&self) -> bool {
        !self.aheads.is_empty() && (self.must_not_run_ahead() || self.aheads.is_due() || self.aheads.is_answered())
    }

    fn must_not_run_ahead(&self) -> bool {
        self.trying || self.drain.is_cancelled()
    }

    /// Those that go on in this round: by an answer, or because they must be written.
    pub(super) fn come_back(&mut self) -> Vec<Ahead> {
        let mut back = self.aheads.take_answered();
        back.extend(if self.must_not_run_ahead() { self.aheads.take_all() } else { self.aheads.take_due() });
        back
    }

    /// Makes the calls of those that may run ahead, and has the others written: of these it leaves the runs. Tells how many
    /// have gone ahead.
    pub(super) fn run_ahead(
        &mut self,
        decision: &mut Decision,
        items: &mut [Option<Item>],
        routes: &mut [Route],
        runs: &mut Runs,
        now_us: i64,
    ) -> usize {
        let now = Instant::now();
        let mut gone_ahead = 0;
        let longest = Duration::from_millis(self.shared.options.ahead_ms);
        for mut work in std::mem::take(&mut decision.ahead) {
            let id = work.id();
            let mut until = runs.get(&id).map_or(now + longest, |run| run.until);
            if let Some(timer) = work.projection().timers.iter().map(|timer| timer.due_us).min() {
                let left_us = u64::try_from(timer - now_us).unwrap_or(0);
                until = until.min(now + Duration::from_micros(left_us));
            }
            let may = until > now && !self.must_not_run_ahead();
            if !may || (!runs.contains_key(&id) && !self.shared.ahead.claim(id)) {
                decision.groups.push(work.fold(&self.shared.options.engine));
                continue;
            }
            let run = runs.remove(&id);
            let (behind, mut flights) = run.map(|run| (run.behind, run.flights)).unwrap_or_default();
            for effect in work.unasked() {
                flights.insert(effect.slot, self.effects.ask_ahead(id, effect, &self.aheads.answered));
            }
            flights.retain(|slot, _| work.is_in_flight(*slot));
            // One that the engine failed on has no call any more: written, it is treated as any other.
            if !work.all_in_flight(|slot| flights.contains_key(&slot)) {
                runs.insert(id, Run { until, behind, flights });
                decision.groups.push(work.fold(&self.shared.options.engine));
                continue;
            }
            let take = |index: usize| Some((items[index].take()?, std::mem::take(&mut routes[index])));
            let led_here = std::mem::take(&mut work.items).into_iter().filter_map(take).collect();
            self.aheads.put(Ahead { work, items: led_here, flights, answers: Vec::new(), until, behind });
            gone_ahead += 1;
        }
        gone_ahead
    }

    /// The instance is written: the call goes on under this lease. If it was answered already, here is the answer.
    pub(super) fn store_flight(&self, runs: &mut Runs, lease: EffectLease) -> Option<Option<Item>> {
        let flight = runs.get_mut(&lease.instance)?.flights.remove(&lease.slot)?;
        Some(self.effects.store(flight, lease))
    }
}
