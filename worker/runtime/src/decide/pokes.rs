//! Pokes: what reaches an instance from within the worker.

use bytes::Bytes;
use flagstop_engine::api::{Stimulus, Timer};
use flagstop_schemas::{Entry, Hash16, InstanceId, LateResult, journal};
use flagstop_store::port::{DueTimer, Group};
use flagstop_store::rows::{KEPT_SLOT, Meeting, Remark};

use super::{Decided, Decider};
use crate::counters::add;
use crate::effects::told;
use crate::intake::Poke;
use crate::letters::inner_letter;
use crate::timers::refusal;
use crate::work::{BUSINESS_SLOT, Refused};

impl Decider<'_> {
    pub(super) fn poke(&mut self, index: usize, instance: InstanceId, poke: &Poke) {
        if !self.works.contains_key(&instance) {
            match poke {
                Poke::Meeting(meeting) if self.released_by_meeting(index, instance, meeting) => return,
                Poke::Drain | Poke::LeftBehind(_) if let Some(release) = self.releases.get_mut(&instance) => {
                    return release.items.push(index);
                }
                _ => {}
            }
            let refused = &self.ground.shared.refused;
            match poke {
                Poke::Timer(timer) => refused.remember(refusal(timer.due())),
                Poke::Meeting(meeting) => refused.remember((instance, meeting.slot, meeting.parked)),
                Poke::Schedule(due) => return self.due_schedule(index, instance, due),
                Poke::Drain | Poke::LeftBehind(_) | Poke::Effect { .. } | Poke::Late(_) => {}
            }
            self.decision.done.push(index);
            return;
        }
        let applied = match poke {
            Poke::Drain | Poke::LeftBehind(_) => !self.works[&instance].group.mail.is_empty(),
            Poke::Timer(timer) => {
                // A late copy must not fire a newer timer of the same slot.
                let DueTimer { due_us, slot, .. } = timer.due();
                let now_us = self.ground.env.now_us;
                let is_due = |timer: &Timer| *timer == Timer { due_us, slot } && due_us <= now_us;
                let due = self.works[&instance].projection().timers.iter().any(is_due);
                let applied = due && self.poked(instance, Stimulus::Timer { slot }, "a timer");
                if !applied {
                    self.ground.shared.refused.remember(refusal(timer.due()));
                }
                applied
            }
            Poke::Late(late) => return self.late(index, instance, late),
            Poke::Effect { lease, task, outcome, .. } => {
                let stimulus = Stimulus::Effect { slot: lease.slot, outcome: outcome.clone() };
                let defects = self.decision.groups.len();
                let applied = self.poked(instance, stimulus, "the result of a side effect");
                let refused = !applied && defects == self.decision.groups.len();
                match self.works.get_mut(&instance) {
                    Some(work) if applied => work.group.fences.push(*lease),
                    // It may be there still, when the engine failed on it: it is not made again at once, over and over.
                    _ => {
                        self.ground.shared.refused.remember((instance, lease.slot, Hash16::of("effect", &[])));
                        add(&self.ground.shared.counters.late_results, 1);
                    }
                }
                if let Some(task) = task.clone().filter(|_| refused) {
                    return self.late(index, instance, &LateResult { task, result: told(outcome) });
                }
                applied
            }
            Poke::Meeting(meeting) => self.meeting(instance, meeting),
            Poke::Schedule(due) => return self.due_schedule(index, instance, due),
        };
        match self.works.get_mut(&instance) {
            Some(work) if applied => work.items.push(index),
            _ => self.decision.done.push(index),
        }
    }

    /// Notes in the history what came too late (PROTOCOL D9). It changes nothing else.
    fn late(&mut self, index: usize, instance: InstanceId, late: &LateResult) {
        let Some(work) = self.works.get(&instance) else {
            self.decision.done.push(index);
            return;
        };
        let events = journal::encode(&work.header(), &[Entry::Late(late.clone())]);
        let remark = Remark { instance, definition: work.definition(), events };
        self.stand_alone(index, Group { remarks: vec![remark], ..Group::default() });
    }

    /// Applies what comes from within; a panic leaves a letter, or nobody would ever see it.
    pub(super) fn poked(&mut self, instance: InstanceId, stimulus: Stimulus, what: &str) -> bool {
        match self.apply(instance, stimulus) {
            Ok(()) => true,
            Err(Refused::Rejected(_)) => false,
            Err(Refused::Panicked(why)) => {
                self.defect(instance, what, &why);
                false
            }
        }
    }

    /// Reports a stimulus without a message on which the engine panicked.
    pub(super) fn defect(&mut self, instance: InstanceId, what: &str, why: &str) {
        add(&self.ground.shared.counters.dead_letters, 1);
        let reason = format!("the engine failed on {what} of instance {instance} (a defect of Flagstop): {why}");
        let origin = format!("{what} of instance {instance}");
        let dead = vec![inner_letter(origin, None, Bytes::new(), "FS-ENGINE-PANIC", &reason)];
        self.decision.groups.push(Decided::alone(Group { dead, ..Group::default() }));
    }

    fn meeting(&mut self, instance: InstanceId, meeting: &Meeting) -> bool {
        // Two waiters may have met the same parked event: the first that takes it has it.
        if self.taken.contains(&meeting.parked) {
            return false;
        }
        let unread = |why: String| tracing::error!(%instance, "a parked event can't be read: {why}");
        if meeting.slot == KEPT_SLOT || meeting.slot == BUSINESS_SLOT {
            let taken = match self.stored_envelope(&meeting.event) {
                Ok(envelope) => self.kept_meeting(instance, meeting, envelope),
                Err(why) => {
                    unread(why);
                    false
                }
            };
            match taken {
                true => _ = self.taken.insert(meeting.parked),
                false => self.ground.shared.refused.remember((instance, meeting.slot, meeting.parked)),
            }
            return taken;
        }
        let event = match self.stored_event(&meeting.event) {
            Ok(event) => event,
            Err(why) => {
                unread(why);
                return false;
            }
        };
        // The wait may have moved to another slot since the look.
        let slots: Vec<i64> = match self.works.get(&instance) {
            Some(work) => {
                let waits = work.projection().bookmarks.iter();
                waits.filter(|wait| wait.key == meeting.key).map(|wait| wait.slot).collect()
            }
            None => Vec::new(),
        };
        let take = |slot: &i64| Stimulus::Event { slot: *slot, event: event.clone() };
        let applied = slots.iter().any(|slot| self.apply(instance, take(slot)).is_ok());
        if let Some(work) = self.works.get_mut(&instance).filter(|_| applied) {
            work.group.claims.push(meeting.parked);
            self.taken.insert(meeting.parked);
        } else {
            self.ground.shared.refused.remember((instance, meeting.slot, meeting.parked));
        }
        applied
    }
}
