//! To whom an event goes: to what it starts, to all who wait for it, and to those who will.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flagstop_engine::api::{Rejected, Stimulus};
use flagstop_engine::{Event, Filter, Plan};
use flagstop_schemas::{CloudEvent, Hash16, StatusKind, message_key};

use super::{Work, World};

/// The listen filters of all definitions, each once, by the event type that they ask for.
#[derive(Debug, Default)]
pub(super) struct Routes {
    waits: HashMap<Option<String>, Vec<Filter>>,
}

/// What workflows never hear, or they could wake themselves for ever.
const COMMAND_PREFIX: &str = "io.flagstop.command.";

impl Routes {
    pub(super) fn add(&mut self, plan: &Plan) {
        for filter in plan.waits() {
            let known = self.waits.entry(filter.event_type().map(str::to_owned)).or_default();
            if known.iter().all(|other| other.id() != filter.id()) {
                known.push(filter.clone());
            }
        }
    }

    /// The keys under which waiters of an event are found.
    fn keys(&self, event: &Event) -> Vec<Hash16> {
        let of = |ty: Option<&str>| self.waits.get(&ty.map(str::to_owned)).into_iter().flatten();
        of(Some(&event.envelope().ty)).chain(of(None)).flat_map(|filter| filter.keys(event)).collect()
    }
}

impl World {
    pub(super) fn publish_now(&mut self, envelope: CloudEvent) {
        if StatusKind::from_wire_type(&envelope.ty).is_some() || envelope.ty.starts_with(COMMAND_PREFIX) {
            return;
        }
        let message = message_key(&envelope.source, &envelope.id);
        let event = match Event::parse(envelope, &self.options.limits) {
            Ok(event) => Arc::new(event),
            // The driver gives only events that can be read; what a workflow emits is a value already.
            Err(why) => return self.defects.push(format!("an event could not be read: {why}")),
        };
        let keys = self.routes.keys(&event);
        if !keys.is_empty() && !self.seen.insert(message) || keys.is_empty() && self.seen.contains(&message) {
            return;
        }
        let number = self.parked.keep(event.clone(), keys.clone(), self.now_us);
        if self.start_by_event(&event, number) {
            self.seen.insert(message);
        }
        let mut waiting: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (run, slot) in keys.iter().filter_map(|key| self.waiters.get(key)).flatten() {
            waiting.entry(*run).or_default().push(*slot);
        }
        for (run, slots) in waiting {
            self.deliver(run, slots, number, &event);
        }
    }

    /// Gives an event to the first of these waits of one instance that takes it. A key only finds candidates.
    fn deliver(&mut self, run: u64, mut slots: Vec<i64>, number: u64, event: &Arc<Event>) -> bool {
        let Some(found) = self.runs.get(&run).filter(|found| !found.heard.contains(&number)) else { return false };
        found.in_order(&mut slots);
        for slot in slots {
            let taken = self.apply(run, Stimulus::Event { slot, event: event.clone() });
            if matches!(taken, Ok(()) | Err(Rejected::Heard)) {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.heard.insert(number);
                }
                self.copy_later(Work::Apply {
                    run,
                    stimulus: Stimulus::Event { slot, event: event.clone() },
                    attempt: None,
                });
                return true;
            }
        }
        false
    }

    /// Gives the waits in these slots the oldest event that came before them; the next one follows when that is done.
    pub(super) fn look(&mut self, number: u64, slots: Vec<i64>, after: u64) {
        let Some(run) = self.runs.get(&number) else { return };
        let bookmarks = run.projection.bookmarks.iter().filter(|bookmark| slots.contains(&bookmark.slot));
        let mut oldest: Option<(u64, Vec<i64>, Arc<Event>)> = None;
        for bookmark in bookmarks {
            let mut events = self.parked.under(bookmark.key, after, self.now_us);
            let Some((event, parked)) =
                events.find(|(n, p)| !run.heard.contains(n) && run.hears(bookmark, p.arrived_us, *n))
            else {
                continue;
            };
            match &mut oldest {
                Some((first, slots, _)) if *first == event => slots.push(bookmark.slot),
                Some((first, ..)) if *first < event => {}
                _ => oldest = Some((event, vec![bookmark.slot], parked.event.clone())),
            }
        }
        if let Some((event_number, candidates, event)) = oldest {
            // First in the queue: older events come before newer ones.
            self.queue.push_front(Work::Look { run: number, slots, after: event_number });
            self.deliver(number, candidates, event_number, &event);
        }
    }
}
