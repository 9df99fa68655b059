//! The bounded place between a driver's thread and the task that receives. Must never lose or reorder an item, and
//! never holds its lock across a wait of the async side.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A queue with one taker. Whoever fills it decides what to do when it is full.
#[derive(Debug)]
pub(crate) struct Handover<T> {
    inner: Mutex<Inner<T>>,
    /// Wakes the taker.
    filled: Notify,
    /// Wakes a filling thread.
    room: Condvar,
    /// Wakes a filling task.
    taken: Notify,
    capacity: usize,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Handover<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::new(Inner { items: VecDeque::new(), closed: false }),
            filled: Notify::new(),
            room: Condvar::new(),
            taken: Notify::new(),
            capacity: capacity.max(1),
        }
    }

    /// Adds an item whatever the capacity: for drivers whose broker bounds what is on the way.
    pub(crate) fn push(&self, item: T) {
        self.lock().items.push_back(item);
        self.filled.notify_one();
    }

    /// Waits on this thread until there is room, at most `longest`; gives the item back otherwise.
    pub(crate) fn push_within(&self, item: T, longest: Duration) -> Result<(), T> {
        let end = Instant::now() + longest;
        let mut inner = self.lock();
        while inner.items.len() >= self.capacity && !inner.closed {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Err(item);
            };
            inner = self.room.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.items.push_back(item);
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for room as long as it takes. For one filling task.
    pub(crate) async fn push_waiting(&self, item: T) {
        loop {
            {
                let mut inner = self.lock();
                if inner.items.len() < self.capacity || inner.closed {
                    inner.items.push_back(item);
                    break;
                }
            }
            self.taken.notified().await;
        }
        self.filled.notify_one();
    }

    /// Adds an item; when full, answers the oldest instead of keeping it: for those who only watch.
    pub(crate) fn push_dropping_oldest(&self, item: T) -> Option<T> {
        let mut inner = self.lock();
        let oldest = (inner.items.len() >= self.capacity).then(|| inner.items.pop_front()).flatten();
        inner.items.push_back(item);
        drop(inner);
        self.filled.notify_one();
        oldest
    }

    /// Takes what is there, at most `max`, waiting for the first. Empty only when closed and drained. Cancel-safe:
    /// nothing is taken before the call returns.
    pub(crate) async fn pop(&self, max: usize) -> Vec<T> {
        loop {
            {
                let mut inner = self.lock();
                let count = inner.items.len().min(max.max(1));
                if count > 0 {
                    let taken = inner.items.drain(..count).collect();
                    drop(inner);
                    self.make_room();
                    return taken;
                }
                if inner.closed {
                    self.filled.notify_one();
                    return Vec::new();
                }
            }
            self.filled.notified().await;
        }
    }

    /// Throws away what `keep` doesn't want: deliveries that somebody else will get.
    pub(crate) fn retain(&self, keep: impl FnMut(&T) -> bool) {
        self.lock().items.retain(keep);
        self.make_room();
    }

    /// Nothing more comes; the taker gets what is left.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
        self.make_room();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn make_room(&self) {
        self.room.notify_all();
        self.taken.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_taker_gets_all_in_order_and_then_the_end() {
        let handover = Arc::new(Handover::new(4));
        let filler = std::thread::spawn({
            let handover = Arc::clone(&handover);
            move || {
                for number in 0..1_000 {
                    let mut item = number;
                    while let Err(back) = handover.push_within(item, Duration::from_millis(1)) {
                        item = back;
                    }
                }
                handover.close();
            }
        });
        let mut taken = Vec::new();
        loop {
            let some = handover.pop(3).await;
            if some.is_empty() {
                break;
            }
            assert!(some.len() <= 3);
            taken.extend(some);
        }
        filler.join().unwrap();
        assert_eq!(taken, (0..1_000).collect::<Vec<_>>());
        assert!(handover.pop(1).await.is_empty(), "the end stays the end");
    }
}
