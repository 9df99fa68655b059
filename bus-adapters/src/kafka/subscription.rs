//! A live view of a topic from its present end: a consumer without a group, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::context::{Health, Plain};
use super::ends::ends;
use super::settings::Settings;
use super::{POLL, message, wrong_property};
use crate::handover::Handover;
use crate::port::{BusError, RawMessage, Subscription};

struct Live(Arc<Feed>);

pub(super) struct Feed {
    handover: Handover<RawMessage>,
    ended: AtomicBool,
}

/// Blocking. When it returns, all that is published later will be seen.
pub(super) fn subscribe(
    settings: &Settings,
    health: &Arc<Health>,
    topic: &str,
) -> Result<(Box<dyn Subscription>, Arc<Feed>), BusError> {
    let consumer: BaseConsumer<Plain> =
        settings.watcher().create_with_context(Plain(Arc::clone(health))).map_err(wrong_property)?;
    let within = settings.config.connect_timeout();
    from_the_end(&consumer, topic, within).map_err(|why| {
        BusError::Unreachable(format!(
            "the topic `{topic}` can't be followed: {why}; is it there, and may the user read it?"
        ))
    })?;
    let feed = Arc::new(Feed {
        handover: Handover::new(settings.config.subscription_messages_max),
        ended: AtomicBool::new(false),
    });
    let running = Arc::clone(&feed);
    std::thread::Builder::new()
        .name("kafka-subscription".into())
        .spawn(move || running.run(&consumer))
        .map_err(|why| BusError::Unreachable(format!("no thread for the subscription: {why}")))?;
    Ok((Box::new(Live(Arc::clone(&feed))), feed))
}

fn from_the_end(consumer: &BaseConsumer<Plain>, topic: &str, within: Duration) -> KafkaResult<()> {
    let mut assignment = TopicPartitionList::new();
    for (partition, end) in ends(consumer, topic, Instant::now() + within)? {
        assignment.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&assignment)
}

impl Feed {
    fn run(&self, consumer: &BaseConsumer<Plain>) {
        while !self.ended.load(Ordering::Acquire) {
            let Some(Ok(received)) = consumer.poll(POLL) else { continue };
            let mut item = message(&received);
            while let Err(back) = self.handover.push_within(item, POLL) {
                if self.ended.load(Ordering::Acquire) {
                    break;
                }
                item = back;
            }
        }
        self.handover.close();
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[async_trait]
impl Subscription for Live {
    async fn next(&mut self, max: usize) -> Vec<RawMessage> {
        self.0.handover.pop(max).await
    }
}
