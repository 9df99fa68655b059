//! Timers: pokes the instances whose moments have come. The shards divide the work; the revision makes each fire once.

use std::sync::Arc;
use std::time::Duration;

use flagstop_schemas::Hash16;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::intake::{Poke, Shared};

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
                        if !shared.refused.knows(&(timer.instance, timer.slot, Hash16::of("timer", &[]))) {
                            shared.pokes.put(timer.instance, Poke::Timer { slot: timer.slot }).await;
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
