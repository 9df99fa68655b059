//! Timers: pokes the instances whose moments have come. The shards divide the work; the revision makes each fire once.

use std::sync::Arc;
use std::time::Duration;

use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::DueTimer;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::intake::{Poke, Shared};

/// What stands for a timer that its instance refused. A later one in the same slot is another.
pub(crate) fn refusal(instance: InstanceId, slot: i64, due_us: i64) -> (InstanceId, i64, Hash16) {
    (instance, slot, Hash16::of("timer", &[&due_us.to_be_bytes()]))
}

/// Looks for due timers until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, effects: Arc<Effects>, stop: CancellationToken) {
    let pause = Duration::from_millis(shared.options.timer_poll_ms);
    while !stop.is_cancelled() {
        let shards = shared.shards.borrow().clone();
        if !shards.is_empty() && effects.has_room() {
            // Refused ones are still there, and must not hide those behind them.
            let limit = shared.options.timers_max + shared.refused.len() as i64;
            match shared.store.due_timers(&shards, limit).await {
                Ok(due) => {
                    for timer in due {
                        // A timer that is poked twice, because its transition is not committed yet, changes nothing the
                        // second time.
                        let DueTimer { due_us, instance, slot } = timer;
                        if !shared.refused.knows(&refusal(instance, slot, due_us)) {
                            shared.pokes.put(instance, Poke::Timer { slot, due_us }).await;
                        }
                    }
                }
                Err(why) => tracing::warn!("due timers can't be read, tried again: {why}"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
