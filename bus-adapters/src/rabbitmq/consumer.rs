//! Consuming the work queue: one task that makes its channel again for ever. Each channel is a generation; a token of
//! an earlier one is ignored, because the broker delivers its message again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel as AmqpChannel, Connection};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ledger::Ledger;
use super::link::Link;
use super::wire;
use crate::backoff::Delays;
use crate::handover::Handover;
use crate::port::{Acker, BusError, Commands, Consumer, Delivery, Origin, Token};

/// What consumer and acker share; the last one that goes ends the task.
struct Handle {
    // First, so that the task learns of the end before it misses the wishes.
    _end: DropGuard,
    shared: Arc<Shared>,
    wish: watch::Sender<Wish>,
}

struct Shared {
    /// Which consumer of this process.
    consumer: u64,
    handover: Handover<Delivery>,
    active: Mutex<Option<Active>>,
    /// Of the channel in use.
    generation: AtomicU64,
    /// Messages whose acknowledgement could not be given; of all consumers of the bus.
    acks_lost: Arc<AtomicU64>,
}

/// The channel in use.
struct Active {
    generation: u64,
    channel: AmqpChannel,
    ledger: Ledger,
}

/// What the runtime wants the task to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Flow,
    Pause,
    Stop,
}

struct RabbitConsumer(Arc<Handle>);

/// The task.
pub(super) struct Worker {
    shared: Arc<Shared>,
    wish: watch::Receiver<Wish>,
    link: Arc<Link>,
    queue: String,
    commands: Commands,
    prefetch: u16,
    end: CancellationToken,
}

/// A consumer and its task, which has still to be spawned. The receiver answers once the first channel consumes.
pub(super) fn consumer(
    link: Arc<Link>,
    queue: String,
    commands: Commands,
    prefetch: u16,
    acks_lost: Arc<AtomicU64>,
    end: CancellationToken,
) -> (Box<dyn Consumer>, Worker) {
    let shared = Arc::new(Shared {
        consumer: crate::generation::next(),
        handover: Handover::new(usize::from(prefetch)),
        active: Mutex::default(),
        generation: AtomicU64::new(0),
        acks_lost,
    });
    let (wish, wishes) = watch::channel(Wish::Flow);
    let (prefetch, ended) = (prefetch.max(1), end.clone());
    let worker = Worker { shared: Arc::clone(&shared), wish: wishes, link, queue, commands, prefetch, end: ended };
    let handle = Handle { _end: end.drop_guard(), shared, wish };
    (Box::new(RabbitConsumer(Arc::new(handle))), worker)
}

// === impl Worker ===

impl Worker {
    pub(super) async fn run(mut self, started: oneshot::Sender<Result<(), BusError>>) {
        let mut started = Some(started);
        let mut delays = Delays::new();
        loop {
            let end = self.end.clone();
            let why = tokio::select! {
                () = end.cancelled() => break,
                why = self.session(&mut started, &mut delays) => why,
            };
            let Some(why) = why.filter(|_| !self.end.is_cancelled()) else { break };
            self.forget();
            if let Some(started) = started.take() {
                let _ = started
                    .send(Err(BusError::Topology(format!("the queue `{}` can't be consumed: {why}", self.queue))));
                break;
            }
            let delay = delays.next_delay();
            tracing::warn!(queue = self.queue, %why, delay_ms = delay.as_millis(), "consuming stopped; starting again");
            tokio::select! {
                () = self.end.cancelled() => break,
                () = tokio::time::sleep(delay) => {}
            }
        }
        let active = self.shared.lock().take();
        if let Some(active) = active {
            let _ = active.channel.close(200, "Flagstop stops consuming".into()).await;
        }
        self.shared.handover.close();
    }

    /// One channel's life. Answers why it ended; nothing when the bus is closed.
    async fn session(
        &mut self,
        started: &mut Option<oneshot::Sender<Result<(), BusError>>>,
        delays: &mut Delays,
    ) -> Option<String> {
        let connection = self.link.up().await?;
        let (channel, generation) = match self.open(&connection).await {
            Ok(open) => open,
            Err(why) => return Some(why.to_string()),
        };
        loop {
            if *self.wish.borrow_and_update() != Wish::Flow {
                if *self.wish.borrow() == Wish::Stop {
                    self.shared.handover.close();
                }
                // The channel stays: what has been delivered can still be acknowledged.
                tokio::select! {
                    changed = self.wish.changed() => changed.ok()?,
                    () = broken(&channel) => return Some("the channel was lost".into()),
                }
                continue;
            }
            match self.flow(&channel, generation, started, delays).await {
                Ok(()) => {}
                Err(why) => return Some(why),
            }
        }
    }

    async fn open(&self, connection: &Connection) -> lapin::Result<(AmqpChannel, u64)> {
        let channel = connection.create_channel().await?;
        // Before consuming: lapin's own queue of deliveries has no bound but this.
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let generation = crate::generation::next();
        self.shared.generation.store(generation, Ordering::Release);
        let active = Active { generation, channel: channel.clone(), ledger: Ledger::default() };
        *self.shared.lock() = Some(active);
        Ok((channel, generation))
    }

    /// Consumes until the runtime wishes otherwise.
    async fn flow(
        &mut self,
        channel: &AmqpChannel,
        generation: u64,
        started: &mut Option<oneshot::Sender<Result<(), BusError>>>,
        delays: &mut Delays,
    ) -> Result<(), String> {
        let queue = wire::short(&self.queue).ok_or("the queue's name is longer than 255 bytes")?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await;
        let mut deliveries = consumer.map_err(|why| why.to_string())?;
        delays.reset();
        if let Some(started) = started.take() {
            let _ = started.send(Ok(()));
        }
        loop {
            tokio::select! {
                delivery = deliveries.next() => match delivery {
                    Some(Ok(delivery)) => self.take(delivery, generation),
                    Some(Err(why)) => return Err(why.to_string()),
                    None => return Err("the broker cancelled the consumer (was its queue deleted?)".into()),
                },
                changed = self.wish.changed() => {
                    // Whoever wished is gone: the task is about to be ended.
                    changed.map_err(|_| "the consumer was dropped".to_owned())?;
                    let cancelled = channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default()).await;
                    cancelled.map_err(|why| why.to_string())?;
                    while let Some(Ok(delivery)) = deliveries.next().await {
                        self.take(delivery, generation);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn take(&self, delivery: lapin::message::Delivery, generation: u64) {
        let tag = delivery.delivery_tag;
        if let Some(active) = &mut *self.shared.lock() {
            active.ledger.delivered(tag);
        }
        self.shared.handover.push(Delivery {
            message: wire::message(&delivery.properties, delivery.data),
            origin: Origin { name: self.queue.clone(), partition: None, offset: tag.cast_signed() },
            redelivered: delivery.redelivered,
            commands: self.commands,
            token: Token { consumer: self.shared.consumer, generation, lane: 0, position: tag },
        });
    }

    /// After a lost channel: the broker delivers all of it again.
    fn forget(&self) {
        *self.shared.lock() = None;
        self.shared.handover.retain(|_| false);
    }
}

/// Answers when the channel can no longer be used. A paused channel has no stream that would say so.
async fn broken(channel: &AmqpChannel) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
    while channel.status().connected() {
        look.tick().await;
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, messages: usize) {
        self.acks_lost.fetch_add(messages as u64, Ordering::Relaxed);
    }
}

// === impl RabbitConsumer ===

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn recv(&mut self, max: usize) -> Vec<Delivery> {
        let shared = &self.0.shared;
        loop {
            let mut deliveries = shared.handover.pop(max).await;
            if deliveries.is_empty() {
                return deliveries;
            }
            // What a lost channel left is on its way again; working on it now would only be wasted.
            let generation = shared.generation.load(Ordering::Acquire);
            deliveries.retain(|delivery| delivery.token.generation == generation);
            if !deliveries.is_empty() {
                return deliveries;
            }
        }
    }

    fn acker(&self) -> Arc<dyn Acker> {
        Arc::clone(&self.0) as Arc<dyn Acker>
    }
}

#[async_trait]
impl Acker for Handle {
    async fn ack(&self, tokens: &[Token]) {
        // The lock is held while the frames are put in line, so that no single ack follows a `multiple` that covers it.
        let mut active = self.shared.lock();
        let ours = tokens.iter().filter(|token| token.consumer == self.shared.consumer);
        let Some(active) = &mut *active else { return self.shared.lost(ours.count()) };
        let current = ours.clone().filter(|token| token.generation == active.generation);
        self.shared.lost(ours.count() - current.clone().count());
        let acks = active.ledger.acknowledge(current.map(|token| token.position));
        for ack in acks {
            let options = BasicAckOptions { multiple: ack.multiple };
            // One poll puts the frame in line; waiting for the socket would bring nothing.
            if let Some(Err(why)) = active.channel.basic_ack(ack.tag, options).now_or_never() {
                self.shared.lost(ack.messages);
                tracing::debug!(%why, tag = ack.tag, messages = ack.messages, "not acknowledged; they will come again");
            }
        }
    }

    async fn stop(&self) {
        self.wish.send_replace(Wish::Stop);
    }

    async fn pause(&self, paused: bool) {
        self.wish.send_if_modified(|wish| {
            let wanted = if paused { Wish::Pause } else { Wish::Flow };
            let changes = *wish != Wish::Stop && *wish != wanted;
            if changes {
                *wish = wanted;
            }
            changes
        });
    }
}
