//! The relay: publishes the journal of the shards that this worker holds, in order per instance.
//!
//! A page is read from the cursors, published in waves with at most one unconfirmed row per instance (PROTOCOL D13), and
//! the cursors move only when the whole page is confirmed. A crash in between publishes again: at least once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flagstop_bus::port::{Channel, Content, Outgoing, PublishError};
use flagstop_schemas::{Answer, CloudEvent, Entry, Hash16, InstanceId, Renderer, Validators, journal, routing_key};
use flagstop_store::port::Cursor;
use flagstop_store::port::StoreError;
use flagstop_store::rows::{DeadLetter, JournalRow, LETTER_ROW, REDRIVE_ROW};
use tokio_util::sync::CancellationToken;

use crate::counters::add;
use crate::intake::Shared;
use crate::letters;
use crate::redrive;

/// Pause after a broker that did not confirm.
const RETRY: Duration = Duration::from_millis(200);
/// Rows of one shard that a look takes at the least.
const RELAY_ROWS_MIN: i64 = 10;
/// Why a stream stands still, for the dead letters and the logs.
const QUARANTINED: &str = "FS-RELAY-QUARANTINED";

/// One journal row, ready to publish.
struct Parcel {
    instance: InstanceId,
    revision: i32,
    messages: Vec<Outgoing>,
    refusals: u32,
    /// Something of it failed: what is left goes one by one, so that nothing overtakes.
    careful: bool,
}

/// The relay of one worker.
pub(crate) struct Relay {
    pub(crate) shared: Arc<Shared>,
    pub(crate) validators: Validators,
}

impl Relay {
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

    /// Publishes one page of every shard. Returns whether more is waiting.
    async fn pass(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let shards = self.shared.shards.borrow().len().max(1);
        let per_shard = self.shared.options.relay_rows_max / shards as i64;
        let pages = self.shared.store.read(self.shared.worker, per_shard.max(RELAY_ROWS_MIN)).await?;
        let mut more = false;
        let mut rows = Vec::new();
        let mut cursors: Vec<Cursor> = Vec::new();
        for page in pages {
            // A page without rows has moved past streams that are set aside.
            more |= page.full;
            rows.extend(page.rows);
            cursors.push(page.next);
        }
        let oldest_us = rows.iter().map(|row| row.at_us).min();
        self.watch_lag(oldest_us);
        if cursors.is_empty() {
            return Ok(false);
        }
        let parcels = self.parcels(rows).await?;
        if !self.deliver(parcels, oldest_us.unwrap_or_default(), stop).await? {
            return Ok(false);
        }
        self.shared.store.save(self.shared.worker, &cursors).await?;
        Ok(more)
    }

    /// Holds new messages back while events wait too long for the broker, and lets them flow again afterwards.
    fn watch_lag(&self, oldest_us: Option<i64>) {
        self.shared.oldest_unpublished_us.store(oldest_us.unwrap_or_default(), Ordering::Relaxed);
        let lag_us = oldest_us.map_or(0, |oldest_us| self.shared.about_now_us() - oldest_us);
        let behind = lag_us > i64::try_from(self.shared.options.relay_lag_max_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        if self.shared.behind.swap(behind, Ordering::Relaxed) != behind {
            let lag_s = lag_us / 1_000_000;
            tracing::warn!(
                lag_s,
                behind,
                "the relay's lag passed its watermark; while behind, no new messages are taken"
            );
        }
    }

    /// Turns journal rows into messages, in the rows' order.
    async fn parcels(&self, rows: Vec<JournalRow>) -> Result<Vec<Parcel>, StoreError> {
        let is_letter = |row: &&JournalRow| match row.revision {
            LETTER_ROW => row.events.is_empty(),
            revision => revision == REDRIVE_ROW,
        };
        let ids: Vec<Hash16> = rows.iter().filter(is_letter).map(|row| Hash16(row.instance.0)).collect();
        let mut letters: HashMap<Hash16, DeadLetter> = HashMap::new();
        if !ids.is_empty() {
            let found = self.shared.store.dead_letters(&ids).await?;
            letters.extend(found.into_iter().map(|letter| (letter.id, letter)));
        }
        let parcel = |row: JournalRow| {
            let messages = match row.revision {
                LETTER_ROW if row.events.is_empty() => {
                    letters.get(&Hash16(row.instance.0)).map(letters::outgoing).into_iter().collect()
                }
                REDRIVE_ROW => letters.get(&Hash16(row.instance.0)).map(redrive::outgoing).into_iter().collect(),
                _ => self.messages(&row),
            };
            Parcel { instance: row.instance, revision: row.revision, messages, refusals: 0, careful: false }
        };
        Ok(rows.into_iter().map(parcel).collect())
    }

    fn messages(&self, row: &JournalRow) -> Vec<Outgoing> {
        let (header, entries) = match journal::decode(&row.events) {
            Ok(decoded) => decoded,
            Err(why) => {
                tracing::error!(instance = %row.instance, revision = row.revision, "a journal row can't be read, its events are not published: {why}");
                add(&self.shared.counters.invalid_events, 1);
                return Vec::new();
            }
        };
        let mut renderer = Renderer::new(&header);
        let mut messages = Vec::with_capacity(entries.len());
        for entry in entries {
            let (channel, routing_key, event) = match entry {
                Entry::Status(status) if !self.shared.published.has(status.kind) => continue,
                Entry::Status(status) => {
                    let event = renderer.render(&status);
                    if let Err(why) = self.validators.check(&event) {
                        // A defect of ours that must not hold the instance; the history keeps the event.
                        tracing::error!(instance = %row.instance, sequence = status.sequence, "a status event breaks its schema and is not published: {why}");
                        add(&self.shared.counters.invalid_events, 1);
                        continue;
                    }
                    (Channel::Status, routing_key(&header, status.kind), event)
                }
                Entry::Emitted(event) => (Channel::Out, event.ty.clone(), *event),
                // For the history alone.
                Entry::Late(_) => continue,
                Entry::Answer(event) => {
                    if let Err(why) = self.validators.check_answer(&event) {
                        tracing::error!(instance = %row.instance, "an answer to a command breaks its schema and is not published: {why}");
                        add(&self.shared.counters.invalid_events, 1);
                        continue;
                    }
                    (Channel::Status, Answer::routing_key(&event.ty).unwrap_or_default().to_owned(), *event)
                }
            };
            let order_key = order_key(&event, row.instance);
            messages.push(Outgoing { channel, routing_key, order_key, content: Content::Event(Box::new(event)) });
        }
        messages
    }

    /// Publishes in waves: the first unconfirmed row of every instance, many instances at once. `false`: given up
    /// because the worker leaves; the next holder publishes the page again.
    async fn deliver(
        &mut self,
        parcels: Vec<Parcel>,
        oldest_us: i64,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let mut waiting = parcels;
        while !waiting.is_empty() {
            let mut busy = HashSet::new();
            let (wave, rest): (Vec<Parcel>, Vec<Parcel>) =
                waiting.into_iter().partition(|parcel| busy.insert(parcel.instance));
            waiting = rest;
            let (failed, troubled) = self.publish(wave).await;
            if failed.is_empty() {
                continue;
            }
            if stop.is_cancelled() {
                return Ok(false);
            }
            self.watch_lag(Some(oldest_us));
            for parcel in failed.into_iter().rev() {
                if parcel.refusals < self.shared.options.relay_refusals_max {
                    waiting.insert(0, parcel);
                } else {
                    self.quarantine(&parcel).await?;
                    waiting.retain(|other| other.instance != parcel.instance);
                }
            }
            if troubled {
                tokio::time::sleep(RETRY).await;
            }
        }
        Ok(true)
    }

    /// Publishes one wave in one burst; returns the parcels that are not wholly confirmed, each from its first
    /// unconfirmed message on, and whether anything failed.
    async fn publish(&self, mut wave: Vec<Parcel>) -> (Vec<Parcel>, bool) {
        let length =
            |parcel: &Parcel| if parcel.careful { 1.min(parcel.messages.len()) } else { parcel.messages.len() };
        let lengths: Vec<usize> = wave.iter().map(length).collect();
        let parts = wave.iter_mut().zip(&lengths).flat_map(|(parcel, length)| parcel.messages.drain(..*length));
        let burst: Vec<Outgoing> = parts.collect();
        let mut results = self.shared.bus.publish(&burst).await.into_iter();
        let mut messages = burst.into_iter();
        let mut failed = Vec::new();
        let mut troubled = false;
        for (mut parcel, length) in wave.into_iter().zip(lengths) {
            let mut again = Vec::new();
            for (message, result) in messages.by_ref().take(length).zip(results.by_ref().take(length)) {
                match result {
                    Ok(()) if again.is_empty() => add(&self.shared.counters.published, 1),
                    // Behind a failure it is sent again, so that the order holds.
                    Ok(()) => again.push(message),
                    Err(why) => {
                        tracing::warn!(instance = %parcel.instance, revision = parcel.revision, "not published, tried again: {why}");
                        parcel.refusals += u32::from(again.is_empty() && matches!(why, PublishError::Refused(_)));
                        parcel.careful = true;
                        troubled = true;
                        again.push(message);
                    }
                }
            }
            let left = std::mem::take(&mut parcel.messages);
            parcel.messages = again.into_iter().chain(left).collect();
            if parcel.messages.is_empty() {
                continue;
            }
            if parcel.revision == 0 && parcel.refusals > 0 {
                parcel.messages = parcel.messages.into_iter().map(letters::without_body).collect();
            }
            failed.push(parcel);
        }
        (failed, troubled)
    }

    /// Sets an instance's stream aside, visibly, so that the others go on (PROTOCOL D13).
    async fn quarantine(&self, parcel: &Parcel) -> Result<(), StoreError> {
        let reason = format!(
            "the broker refused an event of instance {} at revision {} {} times; its later events are held back, its history keeps them",
            parcel.instance, parcel.revision, parcel.refusals
        );
        tracing::error!(instance = %parcel.instance, revision = parcel.revision, "{QUARANTINED}: {reason}");
        self.shared.store.quarantine(parcel.instance, parcel.revision, &reason).await?;
        Ok(())
    }
}

/// Emitted events are ordered by their own key, where they have one.
fn order_key(event: &CloudEvent, instance: InstanceId) -> String {
    let own = event.extensions.get("partitionkey").and_then(|key| key.as_str());
    own.or(event.subject.as_deref()).map_or_else(|| instance.to_string(), str::to_owned)
}
