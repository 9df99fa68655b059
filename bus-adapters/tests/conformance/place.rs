//! A place of its own for each test (names with a prefix, or a file), and the small steps that the cases are made of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flagstop_bus::BusConfig;
use flagstop_bus::port::{
    Bus, Channel, Consumer, Content, Delivery, Outgoing, PublishError, RawMessage, Subscription, Token,
};
use futures_util::future::BoxFuture;

/// Far more than anything takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Place {
    pub url: String,
    pub config: BusConfig,
    pub after: After,
}

/// What is left when a bus is closed.
pub enum After {
    /// Nothing: the case goes on with the same bus.
    Gone,
    /// Everything; to be removed at the end.
    Kept(Box<dyn Fn(BusConfig) -> BoxFuture<'static, ()> + Send + Sync>),
}

impl Place {
    pub fn new(url: String, case: &str, after: After) -> Self {
        let prefix = format!("t-{}-{case}.", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        Self { url, config: BusConfig { prefix, ..BusConfig::default() }, after }
    }

    /// Opens and prepares a bus.
    pub async fn bus(&self) -> Arc<dyn Bus> {
        self.bus_with(&self.config).await
    }

    pub async fn bus_with(&self, config: &BusConfig) -> Arc<dyn Bus> {
        let bus = flagstop_bus::open(&self.url, config).await.expect("a bus");
        bus.prepare(true).await.expect("its topology");
        bus
    }

    /// As after a worker's clean restart.
    pub async fn restarted(&self, bus: Arc<dyn Bus>) -> Arc<dyn Bus> {
        match &self.after {
            After::Gone => bus,
            After::Kept(_) => {
                bus.close().await;
                self.bus().await
            }
        }
    }

    pub async fn clean_up(&self) {
        if let After::Kept(remove) = &self.after {
            remove(self.config.clone()).await;
        }
    }
}

/// The service's URL. Never skips.
pub fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set; run the tests with ./tests/run, which starts the services and sets their URLs")
    })
}

/// A small message with a text as its body.
pub fn letter(channel: Channel, key: &str, text: &str) -> Outgoing {
    let raw = RawMessage {
        content_type: Some("text/plain".into()),
        headers: Vec::new(),
        key: None,
        body: Bytes::copy_from_slice(text.as_bytes()),
    };
    Outgoing { channel, routing_key: "test.letter".into(), order_key: key.into(), content: Content::Raw(raw) }
}

pub fn texts(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("m{number}")).collect()
}

/// Publishes texts as input, all with the same order key, and expects every confirmation.
pub async fn publish(bus: &Arc<dyn Bus>, texts: &[String]) {
    publish_to(bus, Channel::In, texts).await;
}

pub async fn publish_to(bus: &Arc<dyn Bus>, channel: Channel, texts: &[String]) {
    let letters: Vec<Outgoing> = texts.iter().map(|text| letter(channel, "k", text)).collect();
    let mut results = in_time("confirmations", bus.publish(&letters)).await;
    // Nothing has left yet: on a slow machine the first connection is still being made.
    while results
        .iter()
        .all(|result| matches!(result, Err(PublishError::Unavailable(why)) if why.contains("no attempt")))
    {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        results = in_time("confirmations", bus.publish(&letters)).await;
    }
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// Receives until there are `count`.
pub async fn receive(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let left = count - all.len();
        let some = in_time(&format!("{left} more of {count} messages"), consumer.recv(left)).await;
        assert!(!some.is_empty() && some.len() <= left, "recv keeps to its limit, and ends only when stopped");
        all.extend(some);
    }
    all
}

/// Receives and acknowledges whatever comes until a text is among it.
pub async fn receive_until(consumer: &mut Box<dyn Consumer>, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while !all.iter().any(|text| text == last) {
        let some = in_time(last, consumer.recv(100)).await;
        assert!(!some.is_empty(), "the consumer ended before `{last}` came; there were {all:?}");
        consumer.acker().ack(&tokens(&some)).await;
        all.extend(bodies(&some));
    }
    all
}

pub async fn watch(subscription: &mut Box<dyn Subscription>, count: usize) -> Vec<RawMessage> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(in_time("published messages", subscription.next(count - all.len())).await);
    }
    all
}

pub fn tokens(deliveries: &[Delivery]) -> Vec<Token> {
    deliveries.iter().map(|delivery| delivery.token).collect()
}

pub fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| text(&delivery.message)).collect()
}

pub fn text(message: &RawMessage) -> String {
    String::from_utf8(message.body.to_vec()).expect("texts only")
}

pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}
