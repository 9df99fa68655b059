//! Pokes: what reaches an instance from within the worker.

use flagstop_engine::api::Stimulus;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::rows::Meeting;

use super::Decider;
use crate::counters::add;
use crate::intake::Poke;

impl Decider<'_> {
    pub(super) fn poke(&mut self, index: usize, instance: InstanceId, poke: &Poke) {
        if !self.works.contains_key(&instance) {
            if let Poke::Timer { slot } = poke {
                self.ground.shared.refused.remember((instance, *slot, Hash16::of("timer", &[])));
            }
            self.decision.done.push(index);
            return;
        }
        let applied = match poke {
            Poke::Drain => !self.works[&instance].group.mail.is_empty(),
            Poke::Timer { slot } => {
                let applied = self.apply(instance, Stimulus::Timer { slot: *slot }).is_ok();
                if !applied {
                    self.ground.shared.refused.remember((instance, *slot, Hash16::of("timer", &[])));
                }
                applied
            }
            Poke::Effect { lease, outcome } => {
                let stimulus = Stimulus::Effect { slot: lease.slot, outcome: outcome.clone() };
                let applied = self.apply(instance, stimulus).is_ok();
                match self.works.get_mut(&instance) {
                    Some(work) if applied => work.group.fences.push(*lease),
                    _ => add(&self.ground.shared.counters.late_results, 1),
                }
                applied
            }
            Poke::Meeting(meeting) => self.meeting(instance, meeting),
        };
        match self.works.get_mut(&instance) {
            Some(work) if applied => work.items.push(index),
            _ => self.decision.done.push(index),
        }
    }

    fn meeting(&mut self, instance: InstanceId, meeting: &Meeting) -> bool {
        // Two waiters may have met the same parked event: the first that takes it has it.
        if self.taken.contains(&meeting.parked) {
            return false;
        }
        let event = match self.stored_event(&meeting.event) {
            Ok(event) => event,
            Err(why) => {
                tracing::error!(%instance, "a parked event can't be read: {why}");
                return false;
            }
        };
        // The wait may have moved to another slot since the look.
        let slot = match self.works.get(&instance) {
            Some(work) => work.projection().bookmarks.iter().find(|b| b.key == meeting.key).map(|b| b.slot),
            None => None,
        };
        let Some(slot) = slot else { return false };
        let applied = self.apply(instance, Stimulus::Event { slot, event }).is_ok();
        if let Some(work) = self.works.get_mut(&instance).filter(|_| applied) {
            work.group.claims.push(meeting.parked);
            self.taken.insert(meeting.parked);
        } else {
            self.ground.shared.refused.remember((instance, slot, meeting.parked));
        }
        applied
    }
}
