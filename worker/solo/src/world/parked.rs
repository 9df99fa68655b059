//! Events that are kept for those who will listen for them later.
//!
//! An event stays for everybody until it expires: it is meant for every instance that waits for it, each once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use flagstop_engine::Event;
use flagstop_schemas::Hash16;

/// Microseconds for which an event is kept, as by a worker's default: seven days.
const KEPT_US: i64 = 7 * 24 * 3_600 * 1_000_000;

/// Events that are kept at once; beyond them the oldest are dropped.
const EVENTS_MAX: usize = 100_000;

/// One event.
#[derive(Debug, Clone)]
pub(super) struct ParkedEvent {
    pub(super) event: Arc<Event>,
    pub(super) arrived_us: i64,
    keys: Vec<Hash16>,
}

/// The kept events, by number in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Parked {
    last: u64,
    events: BTreeMap<u64, ParkedEvent>,
    by_key: HashMap<Hash16, BTreeSet<u64>>,
}

impl Parked {
    /// The number of the newest event.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Keeps an event under the keys by which it can be found, and numbers it.
    pub(super) fn keep(&mut self, event: Arc<Event>, keys: Vec<Hash16>, now_us: i64) -> u64 {
        while self.events.len() >= EVENTS_MAX
            || self.events.first_key_value().is_some_and(|(_, oldest)| oldest.arrived_us + KEPT_US < now_us)
        {
            self.forget_oldest();
        }
        self.last += 1;
        if !keys.is_empty() {
            for key in &keys {
                self.by_key.entry(*key).or_default().insert(self.last);
            }
            self.events.insert(self.last, ParkedEvent { event, arrived_us: now_us, keys });
        }
        self.last
    }

    /// The events under a key that are newer than this number: the oldest first.
    pub(super) fn under(&self, key: Hash16, after: u64, now_us: i64) -> impl Iterator<Item = (u64, &ParkedEvent)> {
        let numbers = self.by_key.get(&key).into_iter().flat_map(move |numbers| numbers.range(after + 1..));
        numbers
            .filter_map(|number| Some((*number, self.events.get(number)?)))
            .filter(move |(_, parked)| parked.arrived_us + KEPT_US >= now_us)
    }

    fn forget_oldest(&mut self) {
        let Some((number, parked)) = self.events.pop_first() else { return };
        for key in parked.keys {
            if let Some(numbers) = self.by_key.get_mut(&key) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }
}
