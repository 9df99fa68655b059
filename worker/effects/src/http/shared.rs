//! A bounded cache whose values are made by asking others: one flight per key, however many want it.
//!
//! Whoever comes first asks; the others wait for its result. When the one that asks is dropped, the next one asks.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Failure;

/// Whether a value was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Kept,
    Made,
}

pub(super) struct Shared<K, V> {
    max: usize,
    clock: AtomicU64,
    entries: Mutex<HashMap<K, Arc<Entry<V>>>>,
}

struct Entry<V> {
    /// Flights that have ended.
    flights: AtomicU64,
    /// When it was used last, in uses of the cache.
    used: AtomicU64,
    /// The last flight's result. Locked while one is under way.
    last: tokio::sync::Mutex<Option<Result<V, Failure>>>,
}

impl<K: Hash + Eq + Clone, V: Clone> Shared<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, clock: AtomicU64::new(0), entries: Mutex::default() }
    }

    /// The kept value, if it is still good, or a new one.
    pub(super) async fn get<M>(
        &self,
        key: &K,
        is_good: impl Fn(&V) -> bool,
        make: impl FnOnce() -> M,
    ) -> Result<(V, Origin), Failure>
    where
        M: Future<Output = Result<V, Failure>>,
    {
        let entry = self.entry(key);
        let flights = entry.flights.load(Ordering::Acquire);
        let mut last = entry.last.lock().await;
        match &*last {
            Some(Ok(value)) if is_good(value) => return Ok((value.clone(), Origin::Kept)),
            // That flight was under way while this one waited: its failure is shared as its success would be.
            Some(Err(failure)) if entry.flights.load(Ordering::Acquire) > flights => return Err(failure.clone()),
            _ => {}
        }
        let made = make().await;
        entry.flights.fetch_add(1, Ordering::Release);
        *last = Some(made.clone());
        made.map(|value| (value, Origin::Made))
    }

    fn entry(&self, key: &K) -> Arc<Entry<V>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(key) {
            entry.used.store(now, Ordering::Relaxed);
            return entry.clone();
        }
        if entries.len() >= self.max {
            // Those in use are as many as there are calls, which have their own limit.
            let idle = entries.iter().filter(|(_, entry)| Arc::strong_count(entry) == 1);
            let oldest = idle.min_by_key(|(_, entry)| entry.used.load(Ordering::Relaxed)).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                entries.remove(&oldest);
            }
        }
        let entry =
            Entry { flights: AtomicU64::new(0), used: AtomicU64::new(now), last: tokio::sync::Mutex::new(None) };
        entries.entry(key.clone()).or_insert(Arc::new(entry)).clone()
    }
}
