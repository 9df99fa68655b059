//! Timers: pokes the instances whose moments have come, those that were due first before the others. The shards divide the
//! work; the revision makes each fire once.
//!
//! ```text
//! due timers of the held shards, page by page ─► the lanes, as fast as they take them ─► transitions, in batches
//! ```
//! A lane fires its timers in the order of their due times; the order differs only among those that a worker has in hand at
//! the same time, which the lanes' places bound. Must never hold more of a backlog in memory than that.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::{DueTimer, StoreError};
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::intake::{Poke, Shared};

/// Pages after which the oldest are looked for again: one may have appeared that was due before those (its instance was
/// released, its shard was another worker's).
const PAGES_ON: i64 = 10;

/// The timers that the lanes of one worker have in hand: not poked again until it is known what became of them.
#[derive(Debug, Default)]
pub(crate) struct Underway(Mutex<HashSet<DueTimer>>);

/// One of them, until it is dropped, wherever its way ends.
#[derive(Debug)]
pub(crate) struct InHand {
    due: DueTimer,
    underway: Arc<Underway>,
}

/// One way through all that is due.
#[derive(Debug, Default)]
struct Walk {
    shards: Vec<i16>,
    after: Option<DueTimer>,
    poked: i64,
}

/// What stands for a timer that its instance refused. A later one in the same slot is another.
pub(crate) fn refusal(timer: DueTimer) -> (InstanceId, i64, Hash16) {
    (timer.instance, timer.slot, Hash16::of("timer", &[&timer.due_us.to_be_bytes()]))
}

/// Looks for due timers until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, effects: Arc<Effects>, stop: CancellationToken) {
    let pause = Duration::from_millis(shared.options.timer_poll_ms);
    let underway = Arc::<Underway>::default();
    let mut walk = Walk::default();
    while !stop.is_cancelled() {
        if effects.has_room() {
            match walk.page(&shared, &underway, &stop).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(why) => tracing::warn!("due timers can't be read, tried again: {why}"),
            }
        }
        walk = Walk::default();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

// === impl Underway ===

impl Underway {
    /// Takes a timer in hand; `None`: it is already.
    pub(crate) fn take(self: &Arc<Self>, due: DueTimer) -> Option<InHand> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(due);
        is_new.then(|| InHand { due, underway: self.clone() })
    }
}

// === impl InHand ===

impl InHand {
    /// Which.
    pub(crate) fn due(&self) -> DueTimer {
        self.due
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.underway.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.due);
    }
}

// === impl Walk ===

impl Walk {
    /// Pokes one page of what is due. `false`: there is nothing behind it.
    async fn page(
        &mut self,
        shared: &Shared,
        underway: &Arc<Underway>,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let limit = shared.options.timers_max;
        let shards = shared.shards.borrow().clone();
        if shards.is_empty() {
            return Ok(false);
        }
        if shards != self.shards || self.poked >= PAGES_ON * limit {
            *self = Self { shards, ..Self::default() };
        }
        let due = shared.store.due_timers(&self.shards, self.after, limit).await?;
        let more = due.len() as i64 >= limit;
        for timer in due {
            if stop.is_cancelled() {
                return Ok(false);
            }
            self.after = Some(timer);
            // What was refused is still there, and does not hide what is behind it.
            if shared.refused.knows(&refusal(timer)) {
                continue;
            }
            if let Some(in_hand) = underway.take(timer) {
                self.poked += 1;
                shared.pokes.put_behind(timer.instance, Poke::Timer(in_hand)).await;
            }
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_in_one_hand_until_it_is_let_go() {
        let underway = Arc::<Underway>::default();
        let due = DueTimer { due_us: 1, instance: InstanceId(uuid::Uuid::nil()), slot: 1 };
        let in_hand = underway.take(due);
        assert!(in_hand.is_some() && underway.take(due).is_none());
        assert!(underway.take(DueTimer { due_us: 2, ..due }).is_some(), "a later one is another");
        drop(in_hand);
        assert!(underway.take(due).is_some());
    }
}
