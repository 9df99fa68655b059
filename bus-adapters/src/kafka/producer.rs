//! Publishing: an idempotent producer, all messages of a call enqueued at once, then their delivery reports awaited.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::context::{Health, log};
use super::settings::Settings;
use crate::codec::encode_kafka;
use crate::outgoing::on_the_wire;
use crate::port::{BusError, Outgoing, PublishError, RawMessage};

/// How long to wait when librdkafka's queue is full, in milliseconds.
const FULL_WAIT_MS: u64 = 2;
/// How much later than its own deadline librdkafka may report, in milliseconds.
const REPORT_SLACK_MS: u64 = 5_000;

pub(super) struct Producer {
    /// Made again after a fatal error, which an idempotent producer can't recover from.
    current: RwLock<Arc<ThreadedProducer<Reports>>>,
    settings: Settings,
    health: Arc<Health>,
}

struct Reports(Arc<Health>);

/// One `publish` call, as the reporting thread sees it.
struct Burst {
    reports: Mutex<Vec<Option<Report>>>,
    open: AtomicUsize,
    done: Notify,
}

type Report = Result<(), KafkaError>;

/// Travels with a message through librdkafka.
struct Receipt {
    burst: Arc<Burst>,
    index: usize,
}

// === impl Producer ===

impl Producer {
    pub(super) fn new(settings: Settings, health: Arc<Health>) -> Result<Self, BusError> {
        let current = RwLock::new(Arc::new(create(&settings, &health)?));
        Ok(Self { current, settings, health })
    }

    pub(super) async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), PublishError>> {
        let reports = self.send(&messages.iter().collect::<Vec<_>>()).await;
        let mut results = Vec::with_capacity(messages.len());
        for (message, report) in messages.iter().zip(reports) {
            results.push(match report {
                // A topic may take less than we do; then all that shared the batch were refused with the culprit.
                Err(Failure::Kafka(why)) if is_too_large(&why) && messages.len() > 1 => {
                    self.send(&[message]).await.pop().unwrap_or(Err(Failure::Kafka(why))).map_err(refusal)
                }
                other => other.map_err(refusal),
            });
        }
        results
    }

    /// Waits for what is under way.
    pub(super) async fn close(&self) {
        let (producer, within) = (self.usable(), self.settings.config.close_timeout());
        let flushed = tokio::task::spawn_blocking(move || producer.flush(within)).await;
        if let Ok(Err(why)) = flushed {
            tracing::warn!(%why, "not all messages were confirmed while closing");
        }
    }

    async fn send(&self, messages: &[&Outgoing]) -> Vec<Result<(), Failure>> {
        let producer = self.usable();
        let burst = Arc::new(Burst {
            reports: Mutex::new(messages.iter().map(|_| None).collect()),
            open: AtomicUsize::new(messages.len()),
            done: Notify::new(),
        });
        let deadline = Instant::now() + self.settings.config.publish_timeout();
        let mut refused = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let receipt = Box::new(Receipt { burst: Arc::clone(&burst), index });
            if let Err(why) = self.enqueue(&producer, message, receipt, deadline).await {
                refused.push((index, why));
                burst.settle(index, Ok(()));
            }
        }
        let all = tokio::time::timeout_at(deadline + Duration::from_millis(REPORT_SLACK_MS), burst.wait()).await;
        drop(all);
        let reports = std::mem::take(&mut *burst.reports.lock().unwrap_or_else(PoisonError::into_inner));
        let late = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        let mut results: Vec<_> = reports
            .into_iter()
            .map(|report| report.unwrap_or_else(|| Err(late.clone())).map_err(Failure::Kafka))
            .collect();
        for (index, why) in refused {
            results[index] = Err(why);
        }
        results
    }

    async fn enqueue(
        &self,
        producer: &ThreadedProducer<Reports>,
        message: &Outgoing,
        receipt: Box<Receipt>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let raw = on_the_wire(message, &self.settings.config, encode_kafka).map_err(Failure::Ours)?;
        let topic = self.settings.config.topic(message.channel);
        let key = raw.key.as_deref().unwrap_or(message.order_key.as_bytes());
        let mut record = BaseRecord::with_opaque_to(&topic, receipt).payload(&raw.body[..]).headers(headers(&raw));
        // Messages without a key are spread; an empty key would put all of them into one partition.
        if !key.is_empty() {
            record = record.key(key);
        }
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    record = back;
                }
                Err((why, _)) => return Err(Failure::Kafka(why)),
            }
            tokio::time::sleep(Duration::from_millis(FULL_WAIT_MS)).await;
        }
    }

    fn usable(&self) -> Arc<ThreadedProducer<Reports>> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let Some((code, why)) = current.client().fatal_error() else { return current };
        match create(&self.settings, &self.health) {
            Ok(fresh) => {
                tracing::warn!(%code, why, "Kafka's producer failed for good; a new one takes over");
                let fresh = Arc::new(fresh);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
                fresh
            }
            Err(_) => current,
        }
    }
}

fn create(settings: &Settings, health: &Arc<Health>) -> Result<ThreadedProducer<Reports>, BusError> {
    settings.producer().create_with_context(Reports(Arc::clone(health))).map_err(super::wrong_property)
}

fn headers(raw: &RawMessage) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(raw.headers.len() + 1);
    if let Some(media_type) = &raw.content_type {
        headers = headers.insert(Header { key: super::CONTENT_TYPE, value: Some(media_type) });
    }
    for (name, value) in &raw.headers {
        headers = headers.insert(Header { key: name, value: Some(&value[..]) });
    }
    headers
}

/// Why a message has no report of success.
enum Failure {
    Ours(PublishError),
    Kafka(KafkaError),
}

fn is_too_large(why: &KafkaError) -> bool {
    why.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

fn refusal(failure: Failure) -> PublishError {
    use RDKafkaErrorCode as Code;
    let why = match failure {
        Failure::Ours(why) => return why,
        Failure::Kafka(why) => why,
    };
    match why.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord) => {
            PublishError::Refused(why.to_string())
        }
        // What is missing or not allowed can be mended outside.
        Some(
            Code::InvalidTopic
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::PolicyViolation,
        ) => PublishError::Pushback(format!("{why}; is the topic there, and may the user write to it?")),
        _ => PublishError::Unavailable(why.to_string()),
    }
}

// === impl Burst ===

impl Burst {
    fn settle(&self, index: usize, report: Report) {
        // Nobody waits any more when the list is gone.
        if let Some(place) = self.reports.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *place = Some(report);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    async fn wait(&self) {
        while self.open.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
    }
}

// === impl Reports ===

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.on_error(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.0.on_statistics(statistics);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Box<Receipt>) {
        let report = result.as_ref().map(|_| ()).map_err(|(why, _)| why.clone());
        receipt.burst.settle(receipt.index, report);
    }
}
