//! What can be configured about the bus, with every limit named in one place, and the URL that chooses the driver.
//! Nothing here opens a connection.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::port::{BusError, Channel, Commands};

/// Configuration of the bus. The URL chooses the driver; each driver takes what concerns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// Put in front of all names below, so that several deployments can share a broker.
    pub prefix: String,
    /// Names of queues, exchanges, topics and of the consumer group.
    pub names: Names,
    /// Kafka: further topics to consume, taken as they are (without the prefix). They are never made, only verified.
    pub extra_inputs: Vec<String>,
    /// Whether the shared input may hold commands: `accept`, or `refuse`; then only those who may write to
    /// `bus.names.commands`, and operators with access to the store, can command.
    pub commands: Commands,
    /// Make what is missing of the topology. When `false`, `prepare` only verifies. The caller passes it on.
    pub declare: bool,

    /// Messages that one worker holds unacknowledged: RabbitMQ's prefetch, Kafka's window per partition.
    pub prefetch: u16,
    /// RabbitMQ: published messages per AMQP channel that wait for the broker's confirmation at the same time.
    pub confirms_in_flight: usize,
    /// RabbitMQ: `publish` calls that may be under way at the same time, each on an AMQP channel of its own.
    pub publish_channels: usize,
    /// Kafka: partitions of the topics that we make.
    pub partitions: i32,
    /// Kafka: copies of each partition of the topics that we make.
    pub replication_factor: i32,
    /// Kafka: bytes that wait in the producer before `publish` holds its caller back, in KiB.
    pub producer_queue_kib: u32,

    /// Largest body of a message that is published, in bytes. Larger ones are refused, alone.
    pub body_bytes_max: usize,
    /// Largest sum of all header names and values of a message that is published, in bytes. AMQP can't split headers
    /// over several frames, so this must stay below the negotiated frame size (128 KiB by default).
    pub headers_bytes_max: usize,
    /// Embedded: messages that may wait unacknowledged before `publish` is refused for now.
    pub backlog_messages_max: usize,
    /// Embedded: their bodies together, in bytes.
    pub backlog_bytes_max: usize,
    /// Messages that a subscriber may lag behind before the driver holds back (or, embedded, drops the oldest).
    pub subscription_messages_max: usize,

    /// Longest wait for the first connection, and for Kafka's topics to have leaders, in milliseconds; reconnecting
    /// goes on for ever.
    pub connect_timeout_ms: u64,
    /// Longest wait for a published message's confirmation, in milliseconds.
    pub publish_timeout_ms: u64,
    /// Longest wait for a clean end when the bus is closed, in milliseconds.
    pub close_timeout_ms: u64,
    /// RabbitMQ: heartbeat, in seconds, unless the URL says otherwise (`?heartbeat=`). The broker gives a silent worker
    /// up after two to three times as long and hands its messages to others; a worker gives a silent broker up after
    /// twice as long. A smaller one that the broker asks for wins; 0 leaves the choice to the broker.
    pub heartbeat_s: u16,
    /// Kafka: longest wait for messages in hand when a partition is taken away, in milliseconds.
    pub revoke_wait_ms: u64,

    /// Kafka: librdkafka properties of the producer, over our own.
    pub producer: BTreeMap<String, String>,
    /// Kafka: librdkafka properties of the consumers, over our own.
    pub consumer: BTreeMap<String, String>,
}

/// Names on the broker, without the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// Input: exchange (RabbitMQ) or topic (Kafka).
    pub input: String,
    /// RabbitMQ: the workers' queue, bound to the input exchange.
    pub work: String,
    /// Commands alone, for those who may command: exchange and queue (RabbitMQ) or topic (Kafka); empty: there is none.
    pub commands: String,
    /// Status events: exchange or topic.
    pub status: String,
    /// The authors' own events: exchange or topic.
    pub output: String,
    /// RabbitMQ: the exchange of dead letters.
    pub dead: String,
    /// Dead letters: queue (RabbitMQ) or topic (Kafka).
    pub dead_letters: String,
    /// Kafka: the workers' consumer group.
    pub group: String,
}

/// Which driver a URL asks for, with what the driver needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The URL as lapin reads it.
    RabbitMq(String),
    /// Bootstrap servers and librdkafka properties.
    Kafka { brokers: String, properties: BTreeMap<String, String> },
    /// The file, or none for memory only.
    Embedded { path: Option<String> },
}

const SCHEMES: &str = "allowed are amqp://user:password@host:5672/vhost (or amqps://), \
     kafka://host:9092,host:9092/?librdkafka.property=value, embedded: (in memory) and embedded:PATH (a file)";

// === impl BusConfig ===

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            names: Names::default(),
            extra_inputs: Vec::new(),
            commands: Commands::Accept,
            declare: true,
            prefetch: 1_000,
            confirms_in_flight: 1_024,
            publish_channels: 8,
            partitions: 4,
            replication_factor: 1,
            producer_queue_kib: 64 * 1024,
            body_bytes_max: 1024 * 1024,
            headers_bytes_max: 64 * 1024,
            backlog_messages_max: 100_000,
            backlog_bytes_max: 256 * 1024 * 1024,
            subscription_messages_max: 10_000,
            connect_timeout_ms: 5_000,
            publish_timeout_ms: 30_000,
            close_timeout_ms: 5_000,
            // A stopped worker's messages are free after 8 to 12 s; much less would cut off workers that are only busy.
            heartbeat_s: 4,
            revoke_wait_ms: 500,
            producer: BTreeMap::new(),
            consumer: BTreeMap::new(),
        }
    }
}

impl BusConfig {
    /// Exchange or topic of a channel, with the prefix. For dead letters on Kafka see [`Self::dead_topic`].
    pub(crate) fn exchange(&self, channel: Channel) -> String {
        let name = match channel {
            Channel::Commands if !self.names.commands.is_empty() => &self.names.commands,
            Channel::In | Channel::Commands => &self.names.input,
            Channel::Status => &self.names.status,
            Channel::Out => &self.names.output,
            Channel::Dead => &self.names.dead,
        };
        self.prefixed(name)
    }

    /// Kafka's topic of a channel, with the prefix.
    pub(crate) fn topic(&self, channel: Channel) -> String {
        match channel {
            Channel::Dead => self.prefixed(&self.names.dead_letters),
            Channel::In | Channel::Status | Channel::Out | Channel::Commands => self.exchange(channel),
        }
    }

    /// The commands' own exchange, queue or topic, where there is one.
    pub(crate) fn own_commands(&self) -> Option<String> {
        (!self.names.commands.is_empty()).then(|| self.prefixed(&self.names.commands))
    }

    pub(crate) fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn publish_timeout(&self) -> Duration {
        Duration::from_millis(self.publish_timeout_ms)
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        Duration::from_millis(self.close_timeout_ms)
    }
}

// === impl Names ===

impl Default for Names {
    fn default() -> Self {
        Self {
            input: "flagstop.in".into(),
            work: "flagstop.work".into(),
            commands: String::new(),
            status: "flagstop.status".into(),
            output: "flagstop.out".into(),
            dead: "flagstop.dead".into(),
            dead_letters: "flagstop.dead-letters".into(),
            group: "flagstop".into(),
        }
    }
}

// === impl Target ===

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, BusError> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(BusError::Url(format!("`{}` has no scheme; {SCHEMES}", without_password(url))));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "amqp" | "amqps" => Ok(Self::RabbitMq(url.to_owned())),
            "kafka" => Self::kafka(rest),
            "embedded" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                Ok(Self::Embedded { path: (!path.is_empty()).then(|| path.to_owned()) })
            }
            other => Err(BusError::Url(format!("the scheme `{other}` is unknown; {SCHEMES}"))),
        }
    }

    fn kafka(rest: &str) -> Result<Self, BusError> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (brokers, query) = rest.split_once('?').unwrap_or((rest, ""));
        let brokers = brokers.trim_end_matches('/');
        for broker in brokers.split(',') {
            let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none() {
                return Err(BusError::Url(format!(
                    "the broker `{broker}` is not host:port; write kafka://host:9092,host:9092/?property=value"
                )));
            }
        }
        let properties: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        crate::kafka::check_properties(&properties)?;
        Ok(Self::Kafka { brokers: brokers.to_owned(), properties })
    }
}

/// A URL that may be shown: what stands between `//` and `@` is left out.
pub(crate) fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start + 3 <= end => format!("{}://…{}", &url[..start], &url[end..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
