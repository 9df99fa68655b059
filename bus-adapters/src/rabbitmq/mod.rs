//! RabbitMQ over AMQP 0-9-1. Two connections, because a broker short of resources blocks a publishing connection whole,
//! acknowledgements included.
//!
//! ```text
//! publish ─▶ exchanges in, status, out, dead       (connection "publish", a channel per call)
//! queue work ─▶ consumer task ─▶ recv … ack         (connection "consume")
//! ```

mod consumer;
mod ledger;
mod link;
mod mend;
mod publisher;
mod stream;
mod subscription;
mod tls;
mod topology;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use lapin::uri::AMQPUri;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::link::Link;
use self::publisher::Publisher;
use self::tls::Tls;
use crate::config::{BusConfig, without_password};
use crate::port::{
    Bus, BusCounters, BusError, Channel, Commands, Consumer, Outgoing, Prepared, PublishError, Subscription,
};

pub(crate) fn open(url: &str, config: &BusConfig) -> Result<Arc<dyn Bus>, BusError> {
    let uri = uri(url, config)?;
    let tls = Tls::of(url)?;
    // The first provider that is installed wins; a second attempt is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Arc::new(RabbitMq {
        publisher: Publisher::new(Link::start(&uri, &tls, "publish", config), config),
        consuming: Arc::new(Link::start(&uri, &tls, "consume", config)),
        acks_lost: Arc::default(),
        tasks: TaskTracker::new(),
        end: CancellationToken::new(),
        config: config.clone(),
    }))
}

/// The URL, with what it leaves open taken from the configuration.
fn uri(url: &str, config: &BusConfig) -> Result<AMQPUri, BusError> {
    let mut uri: AMQPUri = url.parse().map_err(|why| {
        BusError::Url(format!(
            "`{}` is not an AMQP URL: {why}; write amqp://user:password@host:5672/vhost, special characters percent-encoded",
            without_password(url)
        ))
    })?;
    uri.query.heartbeat.get_or_insert(config.heartbeat_s);
    uri.query.connection_timeout.get_or_insert(config.connect_timeout_ms);
    Ok(uri)
}

#[derive(Debug)]
struct RabbitMq {
    publisher: Publisher,
    consuming: Arc<Link>,
    acks_lost: Arc<AtomicU64>,
    /// Consumers and subscriptions.
    tasks: TaskTracker,
    end: CancellationToken,
    config: BusConfig,
}

#[async_trait]
impl Bus for RabbitMq {
    async fn prepare(&self, declare: bool) -> Result<Prepared, BusError> {
        let connection = self.consuming.up_in_time().await?;
        if declare {
            topology::declare(&connection, &self.config).await
        } else {
            topology::verify(&connection, &self.config).await
        }
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, BusError> {
        self.consume_from(self.config.prefixed(&self.config.names.work), self.config.commands).await
    }

    async fn consume_commands(&self) -> Result<Option<Box<dyn Consumer>>, BusError> {
        match self.config.own_commands() {
            Some(queue) => self.consume_from(queue, Commands::Accept).await.map(Some),
            None => Ok(None),
        }
    }

    fn own_commands(&self) -> Option<String> {
        self.config.own_commands()
    }

    async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), PublishError>> {
        self.publisher.publish(messages).await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, BusError> {
        let connection = self.consuming.up_in_time().await?;
        let name = self.config.exchange(channel);
        let failed = |why: &dyn std::fmt::Display| {
            BusError::Topology(format!(
                "the exchange `{name}` can't be followed: {why}; is it there, and may the user read it?"
            ))
        };
        let exchange = wire::short(&name).ok_or_else(|| failed(&"its name is longer than 255 bytes"))?;
        let link = Arc::clone(&self.consuming);
        let lag_max = self.config.subscription_messages_max;
        let subscribed = subscription::subscribe(link, &connection, exchange, lag_max, self.end.child_token()).await;
        let (subscription, feed) = subscribed.map_err(|why| failed(&why))?;
        self.tasks.spawn(feed.run());
        Ok(subscription)
    }

    async fn close(&self) {
        self.publisher.close().await;
        self.end.cancel();
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            self.consuming.close().await;
        };
        if tokio::time::timeout(self.config.close_timeout(), ended).await.is_err() {
            tracing::warn!("RabbitMQ did not answer while closing; its connections are dropped");
        }
    }

    fn healthy(&self) -> bool {
        self.publisher.is_up() && self.consuming.current().is_some()
    }

    fn counters(&self) -> BusCounters {
        BusCounters { acks_lost: self.acks_lost.load(Ordering::Relaxed) }
    }
}

impl RabbitMq {
    async fn consume_from(&self, queue: String, commands: Commands) -> Result<Box<dyn Consumer>, BusError> {
        self.consuming.up_in_time().await?;
        let (link, end) = (Arc::clone(&self.consuming), self.end.child_token());
        let (consumer, worker) =
            consumer::consumer(link, queue, commands, self.config.prefetch, Arc::clone(&self.acks_lost), end);
        let (started, start) = oneshot::channel();
        self.tasks.spawn(worker.run(started));
        start.await.unwrap_or_else(|_| Err(BusError::Unreachable("the bus is closed".into())))?;
        Ok(consumer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_is_the_urls_or_else_the_configurations() {
        let config = BusConfig { heartbeat_s: 7, ..BusConfig::default() };
        let heartbeat = |url: &str, config: &BusConfig| uri(url, config).expect("a URL").query.heartbeat;
        assert_eq!(heartbeat("amqp://h/%2f?heartbeat=30", &config), Some(30));
        assert_eq!(heartbeat("amqp://h/%2f", &config), Some(7));
        assert_eq!(heartbeat("amqp://h/%2f", &BusConfig::default()), Some(4));
    }
}
