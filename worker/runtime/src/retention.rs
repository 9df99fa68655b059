//! Retention: takes out what is over, page by page, so that the store does not grow for ever. One worker does it, the holder
//! of shard 0. It decides nothing: how long things are kept is in the options, and what a relay has still to read the store
//! keeps by itself (PROTOCOL D13).

use std::sync::Arc;
use std::time::Duration;

use flagstop_store::port::{Keep, Retired, StoreError};
use tokio_util::sync::CancellationToken;

use crate::intake::Shared;
use crate::options::Options;

/// The shard whose holder does it.
const SHARD: i16 = 0;

/// Rows of a kind that one statement takes out.
const ROWS_PER_STATEMENT: i64 = 500;

/// Pause between two pages, so that the batches have the store to themselves in between.
const BREATH: Duration = Duration::from_millis(20);

/// Takes out what is over, again and again, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let pause = Duration::from_secs(shared.options.retention_every_s);
    while !stop.is_cancelled() {
        if shared.shards.borrow().contains(&SHARD) {
            match pass(&shared, &stop).await {
                Ok(Retired { inbox: 0, journal: 0, letters: 0, instances: 0, .. }) => {}
                Ok(Retired { inbox, journal, letters, instances, .. }) => {
                    tracing::info!(inbox, journal, letters, instances, "what was kept for long enough is gone");
                }
                Err(why) => tracing::warn!("what is over can't be taken out, tried again in {pause:?}: {why}"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn pass(shared: &Shared, stop: &CancellationToken) -> Result<Retired, StoreError> {
    let keep = keep(&shared.options);
    let mut all = Retired::default();
    loop {
        let some = shared.store.retire(&keep, all.next, ROWS_PER_STATEMENT).await?;
        all.inbox += some.inbox;
        all.journal += some.journal;
        all.letters += some.letters;
        all.instances += some.instances;
        all.next = some.next;
        if all.next.is_none() || stop.is_cancelled() {
            return Ok(all);
        }
        tokio::time::sleep(BREATH).await;
    }
}

fn keep(options: &Options) -> Keep {
    let hours_us = |hours: u32| (hours > 0).then_some(i64::from(hours) * 3_600_000_000);
    let days_us = |days: u32| hours_us(days.saturating_mul(24));
    Keep {
        inbox_us: hours_us(options.inbox_hours),
        journal_us: days_us(options.history_days),
        letters_us: days_us(options.dead_letters_days),
        instances_us: days_us(options.instances_days),
    }
}
