//! The end of an `apply`: what has changed, as plain data. Only runs that had a step are looked at.

use std::collections::HashSet;

use super::run::{Machine, Rest};
use crate::api::{Effect, Phase, Projection, Transition};
use crate::instance::slot_parts;

impl Machine<'_> {
    pub(super) fn conclude(mut self, answered: Option<i64>, rest: Rest) -> Transition {
        let requests = std::mem::take(&mut self.requests);
        let mut runs = std::mem::take(&mut self.touched);
        runs.extend(requests.keys().filter_map(|slot| slot_parts(*slot)).map(|(run, _)| run));
        runs.extend(self.children.iter().filter_map(|child| slot_parts(child.slot?)).map(|(run, _)| run));
        runs.sort_unstable();
        runs.dedup();

        let (was_live, is_live) = (!self.before.phase.has_ended(), !self.instance.phase.has_ended());
        let was_kept = |slot: &i64| self.before.kept.iter().any(|(kept, _)| kept == slot);
        let (mut wanted_effects, mut wanted_children) = (HashSet::new(), HashSet::new());
        let mut dropped_effects = Vec::new();
        let mut cancelled_children = Vec::new();
        let mut in_flight = if was_live { self.before.effects_in_flight } else { 0 };
        for run in runs {
            let was = if was_live { self.before.flights(self.plan, run) } else { Projection::default() };
            let is = if is_live { self.instance.flights(self.plan, run) } else { Projection::default() };
            // What nobody awaits is asked for beside that, and holds nothing up.
            wanted_effects.extend(self.instance.flights_apart(self.plan, run).into_iter().map(|(slot, _)| slot));
            in_flight = in_flight + is.effects.len() - was.effects.len();
            let is_gone = |slot: &i64| Some(*slot) != answered && !was_kept(slot);
            let gone = was.effects.iter().filter(|effect| !is.effects.contains(effect)).map(|(slot, _)| *slot);
            dropped_effects.extend(gone.filter(is_gone));
            let gone = was.children.iter().filter(|child| !is.children.contains(child) && is_gone(&child.0));
            cancelled_children.extend(gone.map(|(_, id)| *id));
            wanted_effects.extend(is.effects.into_iter().map(|(slot, _)| slot));
            wanted_children.extend(is.children.into_iter().map(|(slot, _)| slot));
        }
        self.instance.effects_in_flight = if is_live { in_flight } else { 0 };
        if matches!(self.instance.phase, Phase::Running | Phase::Waiting) {
            let idle = in_flight == 0 && rest == Rest::None;
            self.instance.phase = if idle { Phase::Waiting } else { Phase::Running };
        }
        self.tell_phase();

        let effects = requests
            .into_iter()
            .filter(|(slot, _)| wanted_effects.contains(slot))
            .filter_map(|(slot, request)| {
                let run = slot_parts(slot)?.0;
                let frame = self.instance.frame(run)?;
                Some(Effect {
                    slot,
                    pointer: self.plan.task(frame.task).pointer.clone(),
                    idempotency_key: self.instance.idempotency_key(self.plan, run),
                    request,
                })
            })
            .collect();
        // A child that is cut before it began is never made.
        self.children.retain(|child| child.slot.is_none_or(|slot| wanted_children.contains(&slot)));
        Transition {
            instance: self.instance,
            effects,
            dropped_effects,
            children: self.children,
            cancelled_children,
            events: self.entries,
            more: rest == Rest::Left,
        }
    }
}
