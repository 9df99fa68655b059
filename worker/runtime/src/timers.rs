//! Timers: pokes the instances whose moments have come. The shards divide the work; the revision makes each fire once.

use std::sync::Arc;
use std::time::Duration;

use flagstop_schemas::InstanceId;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use crate::intake::{Poke, Shared};

/// Looks for due timers until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, pokes: Sender<(InstanceId, Poke)>, stop: CancellationToken) {
    let pause = Duration::from_millis(shared.options.timer_poll_ms);
    while !stop.is_cancelled() {
        let shards = shared.shards.borrow().clone();
        if !shards.is_empty() {
            match shared.store.due_timers(&shards, shared.options.timers_max).await {
                Ok(due) => {
                    for timer in due {
                        // A timer that is poked twice, because its transition is not committed yet, changes nothing the
                        // second time.
                        if pokes.send((timer.instance, Poke::Timer { slot: timer.slot })).await.is_err() {
                            return;
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
