//! The thread that polls. It never stops polling while the consumer lives, because librdkafka runs rebalances inside
//! `poll`; what it can't hand over it holds back by pausing partitions.
//!
//! ```text
//! poll ─▶ lanes (register) ─▶ handover ─▶ recv          ack ─▶ lanes ─▶ store_offsets ─▶ committed each second
//! ```

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::consumer::{Shared, Wish};
use super::context::{Health, log};
use super::lanes::{HoldAll, Place};
use super::settings::Settings;
use super::{POLL, message, wrong_property};
use crate::backoff::Delays;
use crate::port::{BusError, Commands, Delivery, Origin};

/// How long to poll while deliveries wait for room, in milliseconds.
const STALLED_POLL_MS: u64 = 5;

type Client = BaseConsumer<Rebalancing>;

/// Everything the thread owns.
pub(super) struct Poller {
    pub(super) settings: Settings,
    topics: Vec<String>,
    commands: Commands,
    pub(super) health: Arc<Health>,
    pub(super) shared: Arc<Shared>,
    /// Taken from librdkafka while there was no room for it.
    waiting: VecDeque<Delivery>,
    stalled: bool,
}

/// Runs inside `poll`, on the same thread.
pub(super) struct Rebalancing {
    shared: Arc<Shared>,
    health: Arc<Health>,
}

// === impl Poller ===

impl Poller {
    pub(super) fn new(
        settings: Settings,
        topics: Vec<String>,
        commands: Commands,
        health: Arc<Health>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { settings, topics, commands, health, shared, waiting: VecDeque::new(), stalled: false }
    }

    /// A client that has joined nothing yet. Doesn't wait for brokers.
    pub(super) fn client(&self) -> Result<Client, BusError> {
        let context = Rebalancing { shared: Arc::clone(&self.shared), health: Arc::clone(&self.health) };
        let client: Client = self.settings.group_consumer().create_with_context(context).map_err(wrong_property)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        client.subscribe(&topics).map_err(|why| BusError::Unreachable(format!("Kafka can't be consumed: {why}")))?;
        Ok(client)
    }

    /// The thread's life. The client is dropped here, where it may take its time.
    pub(super) fn run(mut self, first: Client, ended: oneshot::Sender<()>) {
        let mut next = Some(first);
        let mut delays = Delays::new();
        while !self.shared.end.is_cancelled() {
            let Some(client) = next.take().or_else(|| self.client().ok()) else {
                std::thread::sleep(delays.next_delay());
                continue;
            };
            let why = self.session(&client);
            self.leave(&client);
            drop(client);
            if let Some(why) = why {
                let delay = delays.next_delay();
                tracing::warn!(%why, delay_ms = delay.as_millis(), "Kafka's consumer failed for good; a new one takes over");
                std::thread::sleep(delay);
            }
        }
        self.shared.handover.close();
        // Nobody waits for the end of a consumer that was dropped.
        let _ = ended.send(());
    }

    /// Polls until the end; answers an error that the client can't recover from.
    fn session(&mut self, client: &Client) -> Option<KafkaError> {
        while !self.shared.end.is_cancelled() {
            self.refill();
            if self.shared.attention.swap(false, Ordering::AcqRel) {
                store(client, &self.shared);
                self.steer(client);
            }
            let wait = if self.stalled { Duration::from_millis(STALLED_POLL_MS) } else { POLL };
            match client.poll(wait) {
                None => {}
                Some(Ok(received)) => self.hand_over(&received),
                Some(Err(why @ KafkaError::MessageConsumptionFatal(_))) => return Some(why),
                Some(Err(why)) => tracing::warn!(%why, "Kafka's consumer"),
            }
        }
        None
    }

    fn hand_over(&mut self, received: &BorrowedMessage<'_>) {
        if self.shared.wish() == Wish::Stop {
            return;
        }
        let (topic, partition, offset) = (received.topic(), received.partition(), received.offset());
        let mut lanes = self.shared.lanes();
        let Some((token, topic)) = lanes.delivered(topic, partition, offset) else { return };
        let redelivered = lanes.may_be_repeated(&token, self.shared.window_max);
        drop(lanes);
        let delivery = Delivery {
            message: message(received),
            origin: Origin { name: topic.to_string(), partition: Some(partition), offset },
            redelivered,
            commands: self.commands,
            token,
        };
        if self.stalled {
            self.waiting.push_back(delivery);
        } else if let Err(delivery) = self.shared.handover.push_within(delivery, POLL) {
            self.waiting.push_back(delivery);
            self.stall(true);
        }
        self.shared.wait_for_room(&token);
    }

    /// Hands over what waits, in order; lets the partitions flow again when half of the room is free.
    fn refill(&mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(delivery) = self.waiting.pop_front() {
            let wait = Duration::from_millis(STALLED_POLL_MS);
            if let Err(delivery) = shared.handover.push_within(delivery, wait) {
                self.waiting.push_front(delivery);
                return;
            }
        }
        if self.stalled && shared.handover.len() <= shared.handover.capacity() / 2 {
            self.stall(false);
        }
    }

    fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
        self.shared.attention.store(true, Ordering::Release);
    }

    fn steer(&mut self, client: &Client) {
        let wish = self.shared.wish();
        if wish == Wish::Stop {
            self.waiting.drain(..).for_each(|delivery| self.shared.handover.push(delivery));
            self.shared.handover.close();
        }
        let hold_all = if wish == Wish::Flow && !self.stalled { HoldAll::No } else { HoldAll::Yes };
        let steering = self.shared.lanes().steer(hold_all, self.shared.window_max);
        for (places, what) in [(steering.pause, ControlFlow::Break(())), (steering.resume, ControlFlow::Continue(()))] {
            if places.is_empty() {
                continue;
            }
            let list = partitions(places.iter().map(|place| (place, Offset::Invalid)));
            let told = if what.is_break() { client.pause(&list) } else { client.resume(&list) };
            if let Err(why) = told {
                tracing::debug!(%why, "a partition's flow was not changed; it was taken away meanwhile");
            }
        }
    }

    /// Before the client goes: what is acknowledged is committed.
    fn leave(&mut self, client: &Client) {
        self.waiting.clear();
        commit(client, &self.shared);
    }
}

/// Gives librdkafka the offsets that have moved; it commits them each second.
fn store(client: &Client, shared: &Shared) {
    let moved = shared.lanes().take_to_store();
    if moved.is_empty() {
        return;
    }
    let list = partitions(moved.iter().map(|(place, offset)| (place, Offset::Offset(*offset))));
    if let Err(why) = client.store_offsets(&list) {
        // A partition was taken away meanwhile: its messages come again elsewhere, and the inbox knows them.
        tracing::debug!(%why, "offsets were not stored");
    }
}

fn commit(client: &Client, shared: &Shared) {
    store(client, shared);
    match client.commit_consumer_state(CommitMode::Sync) {
        Ok(()) => {}
        // Nothing was acknowledged since the last commit.
        Err(why) if why.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::NoOffset) => {}
        Err(why) => tracing::info!(%why, "offsets were not committed; some messages will come again"),
    }
}

fn partitions<'a>(places: impl Iterator<Item = (&'a Place, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        if let Err(why) = list.add_partition_offset(topic, *partition, offset) {
            tracing::debug!(%why, "an offset can't be represented");
        }
    }
    list
}

// === impl Rebalancing ===

impl ConsumerContext for Rebalancing {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let mut lanes = self.shared.lanes();
                places(list).into_iter().for_each(|place| lanes.assign(place));
                drop(lanes);
                // So that new partitions are held back where the others are.
                self.shared.attention.store(true, Ordering::Release);
            }
            Rebalance::Revoke(list) => self.revoke(client, &places(list)),
            Rebalance::Error(why) => tracing::warn!(%why, "Kafka's rebalance failed; it is tried again"),
        }
    }
}

impl Rebalancing {
    /// What nobody has taken is forgotten; what is in hand gets a little time; what is done is committed.
    fn revoke(&self, client: &Client, places: &[Place]) {
        if places.is_empty() {
            return;
        }
        let shared = &self.shared;
        let ours = |delivery: &Delivery| {
            places.iter().any(|(topic, partition)| {
                Some(*partition) == delivery.origin.partition && **topic == *delivery.origin.name
            })
        };
        let mut untaken = Vec::new();
        shared.handover.retain(|delivery| {
            let keep = !ours(delivery);
            if !keep {
                untaken.push(delivery.token);
            }
            keep
        });
        let mut lanes = shared.lanes();
        untaken.iter().for_each(|token| lanes.cut(token));
        // A lost assignment already belongs to others: there is nothing to wait for, and nothing can be committed.
        let lost = client.assignment_lost();
        let end = Instant::now() + shared.revoke_wait;
        while !lost && lanes.in_hand(places) {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            lanes = shared.acknowledged.wait_timeout(lanes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(lanes);
        if !lost {
            commit(client, shared);
        }
        let mut lanes = shared.lanes();
        places.iter().for_each(|place| lanes.revoke(place));
    }
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|element| (element.topic().into(), element.partition())).collect()
}

impl ClientContext for Rebalancing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.health.on_error(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.health.on_statistics(statistics);
    }
}
