//! Numbers for connections, assignments and consumers, never the same twice in one process: a token of one consumer
//! must mean nothing to another.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) fn next() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}
