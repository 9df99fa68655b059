//! The relay: publishes the journal of the shards that this worker holds, in order per instance.
//!
//! ```text
//! pages ─► streams.rs   each instance's rows wait in line behind each other
//!          wave         the first row of every stream whose turn it is, many instances in one burst
//!          confirmed?   the next one · not taken: this stream waits longer each time · wrong: set aside (quarantine)
//! cursor ◄ saved as far as everything before it is confirmed
//! ```
//!
//! A stream that waits holds up itself and the saved cursor of its shard, nothing else: the relay reads ahead of that
//! cursor, within limits. A crash publishes again what lies between: at least once. At most one row of an instance is
//! unconfirmed at a time (PROTOCOL D13).

mod parcels;
mod streams;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flagstop_bus::port::{Outgoing, PublishError};
use flagstop_schemas::{InstanceId, Validators};
use flagstop_store::port::{Ahead, StoreError};
use flagstop_store::rows::LETTER_ROW;
use tokio_util::sync::CancellationToken;

use crate::counters::add;
use crate::intake::Shared;
use crate::letters;

use streams::{Load, Streams};
use trouble::Troubles;

/// Pause after a store that did not answer.
const RETRY: Duration = Duration::from_millis(200);
/// Rows of one shard that a look takes at the least.
const RELAY_ROWS_MIN: i64 = 10;
/// Waves that are published before the journal is looked at again.
const WAVES_MAX: u32 = 50;
/// Rows of a released stream that are read at once.
const WITHHELD_ROWS: i64 = 100;
/// Pause between two tries to give away shards that this build can't read.
const HAND_OVER_EVERY: Duration = Duration::from_secs(5);
/// Why a stream stands still, for the dead letters and the logs.
const QUARANTINED: &str = "FS-RELAY-QUARANTINED";

/// The relay of one worker.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    validators: Validators,
    streams: Streams,
    troubles: Troubles,
    handed_over: Option<Instant>,
}

impl Relay {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let streams = Streams::new(shared.options.relay_retry_max_ms);
        let troubles = Troubles::default();
        Self { shared, validators: Validators::new(), streams, troubles, handed_over: None }
    }

    /// Publishes until `stop`; then publishes what is there, once, and ends.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let pause = Duration::from_millis(self.shared.options.relay_poll_ms);
        loop {
            let last = stop.is_cancelled();
            match self.pass(&stop).await {
                Ok(true) => continue,
                Ok(false) if last => return,
                Ok(false) => {}
                Err(why) => {
                    tracing::warn!("the journal can't be read, tried again: {why}");
                    if last {
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
            tokio::select! {
                () = self.shared.journal_grew.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Reads one page of every shard that has room, and publishes what can be published now. Returns whether more is waiting
    /// in the journal.
    async fn pass(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let more = self.read().await?;
        self.watch_lag();
        let ready = self.publish_ready(stop).await?;
        if self.streams.waits() {
            self.watch_lag();
        }
        self.give_away().await?;
        let cursors = self.streams.finished();
        if !cursors.is_empty() {
            self.shared.store.save(self.shared.worker, &cursors).await?;
            self.streams.saved();
        }
        Ok(more || ready)
    }

    async fn read(&mut self) -> Result<bool, StoreError> {
        let shards = {
            let held = self.shared.shards.borrow();
            self.streams.keep(&held);
            held.len().max(1)
        };
        let rows_max = self.shared.options.relay_held_rows_max;
        if self.streams.rows() >= rows_max {
            return Ok(false);
        }
        let per_shard = (self.shared.options.relay_rows_max / shards as i64).max(RELAY_ROWS_MIN);
        let ahead = Ahead { cursors: self.streams.ahead(), full: self.streams.full(rows_max) };
        let pages = self.shared.store.read(self.shared.worker, per_shard, &ahead).await?;
        let mut more = false;
        let mut rows = Vec::new();
        for page in pages {
            // A page without rows has moved past streams that are set aside.
            more |= page.full;
            let number = self.streams.open_page(page.next, page.rows.len());
            rows.extend(page.rows.into_iter().map(|row| (page.shard, number, row)));
        }
        let numbers: Vec<_> = rows.iter().map(|(shard, number, _)| (*shard, *number)).collect();
        let rows = rows.into_iter().map(|(.., row)| row).collect();
        // What can't be read now is read again: the pages are opened only with their rows.
        let parcels = match self.parcels(rows).await {
            Ok(parcels) => parcels,
            Err(why) => {
                self.streams.forget_all();
                return Err(why);
            }
        };
        for ((shard, number), (instance, mut parcel)) in numbers.into_iter().zip(parcels) {
            parcel.page = Some(number);
            self.streams.put(shard, instance, parcel);
        }
        Ok(more)
    }

    /// Publishes in waves until every stream is empty or waits, or the others have to be looked after: one long stream, such
    /// as a released one, must not keep new rows waiting. Tells whether more can be published at once.
    async fn publish_ready(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        for _ in 0..WAVES_MAX {
            let ready = self.streams.ready(Instant::now());
            if ready.is_empty() {
                return Ok(false);
            }
            let mut wave = Vec::with_capacity(ready.len());
            for instance in ready {
                match self.streams.first(instance).map(|parcel| &parcel.load) {
                    Some(Load::Messages(_)) => wave.push(instance),
                    Some(Load::Release { through }) => {
                        let through = *through;
                        self.publish_withheld(instance, through).await?;
                    }
                    Some(Load::Damaged(why)) => {
                        let why = why.clone();
                        self.set_aside(instance, &why).await?;
                    }
                    Some(Load::Newer) | None => {}
                }
            }
            for (instance, why) in self.publish(wave).await {
                self.give_up(instance, &why).await?;
            }
            if stop.is_cancelled() && self.streams.waits() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts the next rows of a stream that is released before the row that says so; without any it is a stream like others.
    async fn publish_withheld(&mut self, instance: InstanceId, through: i32) -> Result<(), StoreError> {
        let rows = self.shared.store.withheld(instance, through, WITHHELD_ROWS).await?;
        let last = rows.last().map(|row| row.revision);
        match last {
            Some(last) => {
                if rows[0].revision > through + 1 {
                    let (from, missing) = (through + 1, rows[0].revision - through - 1);
                    tracing::error!(%instance, from, missing, "a released stream has a gap: the journal keeps these transitions no longer (worker.history_days)");
                }
                let parcels = self.parcels(rows).await?;
                self.streams.put_before(instance, parcels.into_iter().map(|(_, parcel)| parcel).collect(), last);
            }
            None => {
                if self.shared.store.rejoin(instance, through).await? {
                    tracing::info!(%instance, through, "a stream that was set aside is published again");
                    self.streams.done(instance);
                }
            }
        }
        Ok(())
    }

    /// Publishes the first row of each of these streams in one burst. Returns those whose message the broker has found wrong
    /// often enough.
    async fn publish(&mut self, wave: Vec<InstanceId>) -> Vec<(InstanceId, String)> {
        let mut burst: Vec<Outgoing> = Vec::new();
        let mut lengths = Vec::with_capacity(wave.len());
        for instance in &wave {
            let taken = self.streams.take(*instance);
            lengths.push(taken.len());
            burst.extend(taken);
        }
        if burst.is_empty() {
            return Vec::new();
        }
        let mut results = self.shared.bus.publish(&burst).await.into_iter();
        let mut messages = burst.into_iter();
        let mut wrong = Vec::new();
        for (instance, length) in wave.into_iter().zip(lengths) {
            let mut again = Vec::new();
            let mut failure = None;
            for (message, result) in messages.by_ref().take(length).zip(results.by_ref().take(length)) {
                match result {
                    Ok(()) if again.is_empty() => add(&self.shared.counters.published, 1),
                    // Behind a failure it is sent again, so that the order holds.
                    Ok(()) => again.push(message),
                    Err(why) => {
                        failure.get_or_insert(why);
                        again.push(message);
                    }
                }
            }
            let progress = again.len() < length;
            let Some(why) = failure else {
                self.streams.confirmed(instance);
                continue;
            };
            let mut refused = matches!(why, PublishError::Refused(_));
            if refused && self.streams.first(instance).is_some_and(|parcel| parcel.revision == LETTER_ROW) {
                // The store has it whole.
                if let Some(smaller) = again.first().and_then(letters::smaller) {
                    again[0] = smaller;
                    refused = false;
                }
            }
            let refusals = self.streams.failed(instance, again, progress, refused, &why);
            if refusals >= self.shared.options.relay_refusals_max.max(1) {
                wrong.push((instance, why.to_string()));
            }
        }
        wrong
    }

    /// The broker finds a message wrong, however often it is tried.
    async fn give_up(&mut self, instance: InstanceId, why: &str) -> Result<(), StoreError> {
        let reason = format!("the broker refuses an event of it: {why}");
        self.set_aside(instance, &reason).await
    }

    /// Sets an instance's stream aside, visibly, so that the others go on (PROTOCOL D13). What is no stream, a letter that is
    /// redriven or an answer to a command, is given up alone.
    async fn set_aside(&mut self, instance: InstanceId, why: &str) -> Result<(), StoreError> {
        let Some(parcel) = self.streams.first(instance) else { return Ok(()) };
        let revision = parcel.revision;
        if revision <= LETTER_ROW {
            tracing::error!(id = %instance, "a message that belongs to no instance is not published, the store keeps it: {why}");
            self.streams.done(instance);
            return Ok(());
        }
        let reason = format!(
            "{why}; its events are held back from revision {revision} on, its history keeps them: mend the cause, then `flagstop \
             events release {instance}`"
        );
        tracing::error!(%instance, revision, "{QUARANTINED}: {reason}");
        if self.streams.is_released(instance) {
            // What of it was published does not come again with the next release.
            self.shared.store.rejoin(instance, revision - 1).await?;
        }
        self.shared.store.quarantine(instance, revision, &reason).await?;
        self.streams.drop_stream(instance);
        Ok(())
    }

    /// Gives shards with rows that only a newer build can read to other workers (PROTOCOL D16). Their cursors stay before
    /// these rows, and with no other worker there the shards stay here, for the sake of their timers.
    async fn give_away(&mut self) -> Result<(), StoreError> {
        let shards = self.streams.unreadable();
        if shards.is_empty() || self.handed_over.is_some_and(|last| last.elapsed() < HAND_OVER_EVERY) {
            return Ok(());
        }
        self.handed_over = Some(Instant::now());
        self.shared.store.hand_over(self.shared.worker, &shards).await
    }

    /// Tells what waits, and holds new messages back while events wait too long for the broker.
    fn watch_lag(&mut self) {
        let oldest = self.streams.oldest();
        let oldest_us = oldest.as_ref().map(|waiting| waiting.at_us);
        self.shared.oldest_unpublished_us.store(oldest_us.unwrap_or_default(), Ordering::Relaxed);
        let lag_us = oldest_us.map_or(0, |oldest_us| (self.shared.about_now_us() - oldest_us).max(0));
        let behind = lag_us > i64::try_from(self.shared.options.relay_lag_max_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        let held = self.streams.held();
        self.troubles.tell(&self.shared, oldest.as_ref(), &held, lag_us);
        if self.shared.behind.swap(behind, Ordering::Relaxed) != behind {
            trouble::tell_watermark(oldest.as_ref(), lag_us, behind);
        }
    }
}
