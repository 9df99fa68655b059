//! One instance in the world, with what the store would keep beside its snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flagstop_engine::api::{Bookmark, Projection};
use flagstop_engine::{Instance, Plan};
use flagstop_schemas::Header;

use super::Awaiting;

/// An instance and its lookup rows.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) instance: Instance,
    pub(super) projection: Projection,
    pub(super) started_us: i64,
    pub(super) ended_us: Option<i64>,
    /// The number of the last event that came before its start.
    pub(super) started_after: u64,
    pub(super) parent: Option<Awaiting>,
    /// How many effects and children it has begun, and which number the newest of each slot has.
    pub(super) attempts_last: u64,
    pub(super) attempts: HashMap<i64, u64>,
    /// What of whose schedule started it, until it first ends.
    pub(super) schedule: Option<(usize, usize)>,
    /// The numbers of the events that it has consumed.
    pub(super) heard: HashSet<u64>,
}

impl Run {
    pub(super) fn header(&self) -> Header {
        let of = self.instance.reference();
        Header {
            namespace: of.namespace.clone(),
            name: of.name.clone(),
            version: of.version.to_string(),
            instance: self.instance.id(),
            business_key: self.instance.business_key().map(str::to_owned),
        }
    }

    /// Another effect or child begins in this slot.
    pub(super) fn begin_attempt(&mut self, slot: i64) -> u64 {
        self.attempts_last += 1;
        self.attempts.insert(slot, self.attempts_last);
        self.attempts_last
    }

    /// The newest effect or child of a slot.
    pub(super) fn attempt(&self, slot: i64) -> Option<u64> {
        self.attempts.get(&slot).copied()
    }

    /// Where a slot's task stands among all: compared, it gives the declared order.
    pub(super) fn place(&self, slot: i64) -> Vec<u32> {
        self.instance.place(slot)
    }

    /// The slots in declared order.
    pub(super) fn in_order(&self, slots: &mut [i64]) {
        if slots.len() > 1 {
            slots.sort_by_cached_key(|slot| (self.place(*slot), *slot));
        }
    }

    /// Whether it would take an event now: while it is suspended, nothing is projected and events are kept for later.
    pub(super) fn is_listening(&self) -> bool {
        !self.projection.bookmarks.is_empty()
    }

    /// Whether an event that came earlier than the wait is meant for it.
    pub(super) fn hears(&self, bookmark: &Bookmark, arrived_us: i64, number: u64) -> bool {
        match bookmark.since_us {
            None => true,
            // Within the moment of the start, the order of arrival decides.
            Some(since_us) if since_us == arrived_us => since_us == self.started_us && number > self.started_after,
            Some(since_us) => arrived_us > since_us,
        }
    }
}
