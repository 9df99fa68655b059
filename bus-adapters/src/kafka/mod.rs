//! Kafka through librdkafka. Everything of it that blocks runs on threads of its own.
//!
//! ```text
//! publish ─▶ idempotent producer ─▶ topics in, status, out, dead-letters (key = order key)
//! topics in, out ─▶ polling thread ─▶ recv … ack ─▶ low-water mark per partition ─▶ group's offsets
//! ```

mod allowed;
mod consumer;
mod context;
mod ends;
mod lanes;
mod poll;
mod producer;
mod settings;
mod subscription;
mod topics;
mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(crate) use self::allowed::check as check_properties;
use self::consumer::Shared;
use self::context::Health;
use self::poll::Poller;
use self::producer::Producer;
use self::settings::Settings;
use self::subscription::Feed;
use crate::config::BusConfig;
use crate::port::{
    Bus, BusCounters, BusError, Channel, Commands, Consumer, Outgoing, Prepared, PublishError, RawMessage, Subscription,
};

/// The header that carries the media type.
const CONTENT_TYPE: &str = "content-type";
/// Stands for a header whose name isn't UTF-8.
const UNREADABLE: &str = "\u{fffd}";
/// Longest single poll: callbacks and orders wait no longer than this.
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn open(
    brokers: &str,
    properties: &BTreeMap<String, String>,
    config: &BusConfig,
) -> Result<Arc<dyn Bus>, BusError> {
    check_properties(&config.producer)?;
    check_properties(&config.consumer)?;
    let settings = Settings { brokers: brokers.to_owned(), properties: properties.clone(), config: config.clone() };
    // The consumer's properties are looked at now too, not only when a worker starts.
    settings.group_consumer().create_native_config().map_err(wrong_property)?;
    let health = Arc::new(Health::default());
    let producer = Arc::new(Producer::new(settings.clone(), Arc::clone(&health))?);
    Ok(Arc::new(Kafka {
        settings,
        health,
        producer,
        acks_lost: Arc::default(),
        closed: AtomicBool::new(false),
        end: CancellationToken::new(),
        threads: Mutex::default(),
        feeds: Mutex::default(),
    }))
}

struct Kafka {
    settings: Settings,
    health: Arc<Health>,
    producer: Arc<Producer>,
    acks_lost: Arc<AtomicU64>,
    closed: AtomicBool,
    /// Ends all consumers.
    end: CancellationToken,
    /// Answer when the consumers' threads have ended.
    threads: Mutex<Vec<oneshot::Receiver<()>>>,
    feeds: Mutex<Vec<Weak<Feed>>>,
}

#[async_trait]
impl Bus for Kafka {
    async fn prepare(&self, declare: bool) -> Result<Prepared, BusError> {
        let (settings, health) = (self.settings.clone(), Arc::clone(&self.health));
        blocking(move || topics::prepare(&settings, &health, declare)).await
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, BusError> {
        let config = &self.settings.config;
        let mut topics = vec![config.topic(Channel::In), config.topic(Channel::Out)];
        topics.extend(config.extra_inputs.iter().cloned());
        self.consume_from(self.settings.clone(), topics, config.commands)
    }

    async fn consume_commands(&self) -> Result<Option<Box<dyn Consumer>>, BusError> {
        let Some(topic) = self.settings.config.own_commands() else { return Ok(None) };
        // A group of its own: members of one group should subscribe to the same topics.
        let mut settings = self.settings.clone();
        settings.config.names.group.push_str(".commands");
        self.consume_from(settings, vec![topic], Commands::Accept).map(Some)
    }

    fn own_commands(&self) -> Option<String> {
        self.settings.config.own_commands()
    }

    async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), PublishError>> {
        if self.closed.load(Ordering::Acquire) {
            let closed = || Err(PublishError::Unavailable("the bus is closed".into()));
            return messages.iter().map(|_| closed()).collect();
        }
        self.producer.publish(messages).await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, BusError> {
        let (settings, health) = (self.settings.clone(), Arc::clone(&self.health));
        let topic = settings.config.topic(channel);
        let (subscription, feed) = blocking(move || subscription::subscribe(&settings, &health, &topic)).await?;
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&feed));
        Ok(subscription)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.end.cancel();
        self.feeds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|f| f.end());
        self.producer.close().await;
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let all = futures_util::future::join_all(threads);
        if tokio::time::timeout(self.settings.config.close_timeout(), all).await.is_err() {
            tracing::warn!("Kafka's consumers did not end in time; the group notices when their session times out");
        }
    }

    fn healthy(&self) -> bool {
        !self.closed.load(Ordering::Acquire) && self.health.is_up()
    }

    fn counters(&self) -> BusCounters {
        BusCounters { acks_lost: self.acks_lost.load(Ordering::Relaxed) }
    }
}

impl Kafka {
    fn consume_from(
        &self,
        settings: Settings,
        topics: Vec<String>,
        commands: Commands,
    ) -> Result<Box<dyn Consumer>, BusError> {
        let revoke_wait = Duration::from_millis(settings.config.revoke_wait_ms);
        let shared = Arc::new(Shared::new(
            settings.config.prefetch,
            revoke_wait,
            Arc::clone(&self.acks_lost),
            self.end.child_token(),
        ));
        let poller = Poller::new(settings, topics, commands, Arc::clone(&self.health), Arc::clone(&shared));
        let client = poller.client()?;
        let (sender, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("kafka-consumer".into())
            .spawn(move || poller.run(client, sender))
            .map_err(|why| BusError::Unreachable(format!("no thread for the consumer: {why}")))?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain_mut(|thread| thread.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        threads.push(ended);
        Ok(consumer::handle(shared))
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the properties: they hold passwords.
        f.debug_struct("Kafka").field("brokers", &self.settings.brokers).finish_non_exhaustive()
    }
}

/// Runs something of librdkafka that waits for brokers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|why| Err(BusError::Unreachable(format!("the Kafka client failed: {why}"))))
}

fn wrong_property(why: KafkaError) -> BusError {
    BusError::Url(format!(
        "librdkafka does not take its configuration: {why}; correct the URL's properties, bus.producer or bus.consumer"
    ))
}

/// A record as a message. The body is copied once, out of librdkafka's memory.
fn message(record: &BorrowedMessage<'_>) -> RawMessage {
    let (content_type, headers) = headers(record);
    RawMessage {
        content_type,
        headers,
        key: record.key().map(Bytes::copy_from_slice),
        body: record.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
    }
}

fn headers(record: &BorrowedMessage<'_>) -> (Option<String>, Vec<(String, Bytes)>) {
    let mut content_type = None;
    let mut headers = Vec::new();
    let Some(all) = record.headers() else { return (content_type, headers) };
    for index in 0..all.count() {
        // The binding panics on a name that isn't UTF-8, and gives neither it nor its value in any other way. One bad producer
        // must not end the thread, and takes no other header along.
        let Ok(header) = std::panic::catch_unwind(AssertUnwindSafe(|| all.get(index))) else {
            headers.push((UNREADABLE.to_owned(), Bytes::new()));
            continue;
        };
        // A header without a value says nothing, as an attribute that is null.
        let Some(value) = header.value else { continue };
        match std::str::from_utf8(value) {
            Ok(text) if content_type.is_none() && header.key.eq_ignore_ascii_case(CONTENT_TYPE) => {
                content_type = Some(text.to_owned());
            }
            _ => headers.push((header.key.to_owned(), Bytes::copy_from_slice(value))),
        }
    }
    (content_type, headers)
}
