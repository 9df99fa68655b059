//! What a worker has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A copy of the counters, for people and benchmarks.
#[derive(Debug, Clone, Copy, Default, Serialize, PartialEq, Eq)]
pub struct WorkerCounters {
    /// Messages taken from the bus.
    pub messages: u64,
    /// Messages that had already been applied.
    pub duplicates: u64,
    /// Events that no definition listens for.
    pub unheard: u64,
    /// Events that were kept for a later waiter.
    pub parked: u64,
    /// Messages set aside.
    pub dead_letters: u64,
    /// Committed transitions.
    pub transitions: u64,
    /// Batches committed.
    pub batches: u64,
    /// Groups that had to be decided again.
    pub conflicts: u64,
    /// Messages published.
    pub published: u64,
    /// Status events that broke their own schema: each one a defect of Flagstop.
    pub invalid_events: u64,
    /// Side effects carried out.
    pub effects: u64,
    /// Results that came too late to count.
    pub late_results: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// The live counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        impl Counters {
            pub(crate) fn copy(&self) -> WorkerCounters {
                WorkerCounters { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters!(
    messages,
    duplicates,
    unheard,
    parked,
    dead_letters,
    transitions,
    batches,
    conflicts,
    published,
    invalid_events,
    effects,
    late_results
);

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
