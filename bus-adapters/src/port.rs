//! The Bus port: what the runtime needs of a broker, in batches.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flagstop_schemas::CloudEvent;
use serde::{Deserialize, Serialize};

/// A message as the broker carried it: kept whole, so that a dead letter can show it as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawMessage {
    /// The media type that the transport gave, if any (`content_type` in AMQP, the header `content-type` in Kafka).
    pub content_type: Option<String>,
    /// Headers in their order, values as bytes; AMQP's typed values in their text form.
    pub headers: Vec<(String, Bytes)>,
    /// The transport's message key (Kafka), if any.
    pub key: Option<Bytes>,
    /// The payload.
    pub body: Bytes,
}

/// Where a message came from, for people: a dead letter's `flagstop-origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Queue or topic.
    pub name: String,
    /// Partition and offset (Kafka), delivery tag (RabbitMQ), position (embedded).
    pub partition: Option<i32>,
    /// Position within the partition or channel.
    pub offset: i64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "{}/{partition}@{}", self.name, self.offset),
            None => write!(f, "{}@{}", self.name, self.offset),
        }
    }
}

/// What acknowledges one delivery. Only the driver that made it can read it; a token of a lost connection or a revoked
/// partition (a stale `generation`) is ignored, and the broker delivers the message again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// Which consumer of this process: others have no part in it, and nothing of it is lost when they are asked, too.
    pub consumer: u64,
    /// Which connection (RabbitMQ) or assignment (Kafka) made the delivery; 0 where there is none.
    pub generation: u64,
    /// Partition index within the driver; 0 where there is none.
    pub lane: u32,
    /// Delivery tag or offset.
    pub position: u64,
}

/// One message in the worker's hands. It is delivered again, here or elsewhere, until it is acknowledged.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub message: RawMessage,
    /// Where it came from.
    pub origin: Origin,
    /// It may have been in somebody's hands before. A hint only, and not the whole truth in either direction. RabbitMQ's own
    /// says so of what went back to the queue, read or not. Kafka keeps no such record: there it is said of the first messages
    /// after each assignment of a partition, as many as a worker may hold (`bus.prefetch`); a worker that acknowledged more
    /// than that within the second before it died had its last ones further on.
    pub redelivered: bool,
    /// May it be a command?
    pub commands: Commands,
    /// What [`Consumer::ack`] takes.
    pub token: Token,
}

/// May what comes from here be a command?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Commands {
    /// Whoever may send here may command.
    #[default]
    Accept,
    /// Only events are taken from here.
    Refuse,
}

/// Where an outgoing message goes; the driver maps it to its configured exchange or topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The workers' own input (used by `flagstop publish` and by tests).
    In,
    /// Status events.
    Status,
    /// The authors' own events (`emit`), which workers also hear.
    Out,
    /// Dead letters.
    Dead,
    /// The commands' own queue or topic, where one is configured; else the workers' input.
    Commands,
}

/// One message to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub channel: Channel,
    /// AMQP routing key, and the message's topic words in general. Unused by Kafka.
    pub routing_key: String,
    /// Messages with the same order key keep their order (Kafka: the record key).
    pub order_key: String,
    /// What.
    pub content: Content,
}

/// The two kinds of outgoing messages.
#[derive(Debug, Clone)]
pub enum Content {
    /// A CloudEvent, sent in binary mode. Boxed: much larger than the other kind.
    Event(Box<CloudEvent>),
    /// A message passed on as it was (dead letters), with its own headers.
    Raw(RawMessage),
}

/// Why one message was not published. The caller decides whether to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The connection is down or broke before the confirmation; the message may or may not have arrived. Try again.
    #[error("FS-BUS-UNAVAILABLE: the broker did not confirm the message: {0}")]
    Unavailable(String),
    /// The broker is there and does not take the message for now: a full queue, an exchange, binding or topic that is missing,
    /// rights that are missing. Nothing is wrong with the message: try again, for ever and not too often, since other queues
    /// may have got it.
    #[error("FS-BUS-PUSHBACK: the broker does not take the message now: {0}")]
    Pushback(String),
    /// Something is wrong with this one message (too large, a routing key that is too long): trying again hardly helps.
    #[error("FS-BUS-REFUSED: the broker refused the message: {0}")]
    Refused(String),
}

/// Why the bus can't be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The URL is not one of a bus.
    #[error("FS-BUS-URL: {0}")]
    Url(String),
    /// Not reachable or not authorised.
    #[error("FS-BUS-UNREACHABLE: {0}")]
    Unreachable(String),
    /// The broker's topology is not what it must be, or may not be made.
    #[error("FS-BUS-TOPOLOGY: {0}")]
    Topology(String),
}

/// What an operator may want to know of a bus, since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusCounters {
    /// Messages whose acknowledgement could not be given, because their connection or partition was lost before. They
    /// come again.
    pub acks_lost: u64,
}

/// What [`Bus::prepare`] has found besides what it refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// What works and may still be a mistake, for the operator; each begins with its code.
    pub warnings: Vec<String>,
    /// What of the input the broker keeps by time, whether it was consumed or not, and so could deliver again.
    pub kept: Vec<Kept>,
}

/// How long a broker keeps messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The topic.
    pub name: String,
    /// At most this long, in milliseconds; `None`: for ever.
    pub longest_ms: Option<u64>,
}

/// A broker, or the embedded one. Cheap to clone behind an `Arc`; all methods may be called from many tasks.
#[async_trait]
pub trait Bus: Send + Sync + fmt::Debug {
    /// Makes what is missing of the topology (when `declare`) and verifies what is there, its settings included. Never
    /// changes what is there. Idempotent.
    ///
    /// # Errors
    /// [`BusError::Topology`] says which object differs and how; [`BusError::Unreachable`] after the connect timeout.
    async fn prepare(&self, declare: bool) -> Result<Prepared, BusError>;

    /// Starts consuming the input. The driver reconnects for ever by itself; while it is away, `recv` waits.
    async fn consume(&self) -> Result<Box<dyn Consumer>, BusError>;

    /// Begins to consume the commands' own queue or topic, where one is configured.
    async fn consume_commands(&self) -> Result<Option<Box<dyn Consumer>>, BusError> {
        Ok(None)
    }

    /// The name of the commands' own queue or topic, where one is configured: what came from there goes back there.
    fn own_commands(&self) -> Option<String> {
        None
    }

    /// Publishes all messages, pipelined, and waits for the confirmations of all. The results stand in the order of
    /// the messages. Messages with the same order key are sent in the order given; a caller that needs that order to
    /// survive failures has at most one of them under way.
    async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), PublishError>>;

    /// Follows a channel from its present end, for `dev`'s live log, benchmarks and tests: everything published after
    /// the call returned. Such a subscription acknowledges by itself and shares nothing with other subscribers.
    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, BusError>;

    /// Flushes what is under way, then closes the connections. Publishing afterwards is refused.
    async fn close(&self);

    /// `true` while the connections are up.
    fn healthy(&self) -> bool;

    /// What went wrong so far that mends itself.
    fn counters(&self) -> BusCounters {
        BusCounters::default()
    }
}

/// The consuming side. One per worker; `recv` is called by one task, `ack` through the handle by any.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for at least one message and returns at most `max` that have already arrived. Cancel-safe.
    /// Returns an empty list only after [`Acker::stop`], when all that was handed over before has been taken.
    async fn recv(&mut self, max: usize) -> Vec<Delivery>;

    /// The acknowledging side, to be shared.
    fn acker(&self) -> Arc<dyn Acker>;
}

/// Acknowledges deliveries and steers the flow.
#[async_trait]
pub trait Acker: Send + Sync {
    /// Acknowledges deliveries whose effects are committed. Must never be called before the commit. Losing an
    /// acknowledgement costs a redelivery, nothing else. Tokens may come in any order; Kafka's driver stores only the
    /// contiguous low-water mark of each partition. Tokens of other consumers are passed over.
    async fn ack(&self, tokens: &[Token]);

    /// Stops fetching; `recv` returns what is left and then an empty list. What is unacknowledged when the bus is
    /// closed goes to other workers.
    async fn stop(&self);

    /// Holds back (`true`) or lets flow (`false`) new messages: backpressure. What has already been fetched still
    /// comes; the driver stays within its prefetch.
    async fn pause(&self, paused: bool);
}

/// A live view of a channel.
#[async_trait]
pub trait Subscription: Send {
    /// Waits for the next messages, at most `max`. Cancel-safe.
    async fn next(&mut self, max: usize) -> Vec<RawMessage>;
}
