//! librdkafka's properties: ours, then those of the URL, then those of the configuration. Opens nothing.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use crate::config::BusConfig;

/// What brokers and producer may add around a message's body and headers, in bytes.
const OVERHEAD_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) brokers: String,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) config: BusConfig,
}

/// Whom a property concerns, so that librdkafka need not warn about the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Producer,
    Consumer,
    Neither,
}

const CONSUMER_ONLY: [&str; 13] = [
    "session.",
    "heartbeat.",
    "max.poll.",
    "fetch.",
    "auto.",
    "enable.auto.",
    "group.",
    "partition.assignment.",
    "isolation.",
    "queued.",
    "check.crcs",
    "max.partition.fetch.",
    "coordinator.",
];
const PRODUCER_ONLY: [&str; 15] = [
    "acks",
    "request.required.",
    "linger.",
    "batch.",
    "compression.",
    "queue.buffering.",
    "retries",
    "retry.backoff.",
    "enable.idempotence",
    "message.send.",
    "message.timeout.",
    "delivery.",
    "transactional.",
    "partitioner",
    "sticky.",
];

impl Settings {
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.client(Side::Producer);
        let ours = [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("linger.ms", "2".to_owned()),
            ("message.timeout.ms", self.config.publish_timeout_ms.to_string()),
            ("queue.buffering.max.kbytes", self.config.producer_queue_kib.to_string()),
            ("message.max.bytes", self.message_bytes_max().to_string()),
            // The same key meets the same partition as with Java's clients.
            ("partitioner", "murmur2_random".to_owned()),
        ];
        self.finished(&mut client, ours, Side::Producer, &self.config.producer)
    }

    pub(super) fn group_consumer(&self) -> ClientConfig {
        let mut client = self.client(Side::Consumer);
        let ours = [
            ("group.id", self.config.prefixed(&self.config.names.group)),
            ("enable.auto.commit", "true".to_owned()),
            ("auto.commit.interval.ms", "1000".to_owned()),
            // Only what is acknowledged is stored, by us.
            ("enable.auto.offset.store", "false".to_owned()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
            ("session.timeout.ms", "6000".to_owned()),
            ("heartbeat.interval.ms", "2000".to_owned()),
            ("queued.max.messages.kbytes", "16384".to_owned()),
            ("fetch.queue.backoff.ms", "20".to_owned()),
            ("fetch.error.backoff.ms", "100".to_owned()),
        ];
        self.finished(&mut client, ours, Side::Consumer, &self.config.consumer)
    }

    /// For subscriptions: a group of its own that is never joined, because librdkafka wants a name for it.
    pub(super) fn watcher(&self) -> ClientConfig {
        let mut client = self.client(Side::Consumer);
        let ours = [
            ("group.id", format!("flagstop-watch-{}", uuid::Uuid::new_v4())),
            ("enable.auto.commit", "false".to_owned()),
            ("auto.offset.reset", "latest".to_owned()),
            ("queued.max.messages.kbytes", "16384".to_owned()),
            ("fetch.queue.backoff.ms", "20".to_owned()),
        ];
        let mut client = self.finished(&mut client, ours, Side::Consumer, &self.config.consumer);
        // It keeps no offsets, whatever group the worker's consumers are told to be in.
        client.set("enable.auto.commit", "false");
        client
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.client(Side::Neither)
    }

    /// Largest message with all that is around it, in bytes.
    pub(super) fn message_bytes_max(&self) -> usize {
        self.config.body_bytes_max + self.config.headers_bytes_max + OVERHEAD_BYTES
    }

    fn client(&self, side: Side) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "flagstop")
            .set("socket.keepalive.enable", "true")
            .set("statistics.interval.ms", "1000")
            .set("reconnect.backoff.max.ms", "5000");
        self.with_url(&mut client, side);
        client
    }

    fn finished<const N: usize>(
        &self,
        client: &mut ClientConfig,
        ours: [(&str, String); N],
        side: Side,
        theirs: &BTreeMap<String, String>,
    ) -> ClientConfig {
        for (name, value) in ours {
            client.set(name, value);
        }
        self.with_url(client, side);
        for (name, value) in theirs {
            client.set(name, value);
        }
        client.clone()
    }

    fn with_url(&self, client: &mut ClientConfig, side: Side) {
        for (name, value) in &self.properties {
            let of = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
            let concerns = match () {
                () if of(&CONSUMER_ONLY) => side == Side::Consumer,
                () if of(&PRODUCER_ONLY) => side == Side::Producer,
                () => true,
            };
            if concerns {
                client.set(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_the_url_and_the_configuration_win_where_they_belong() {
        let mut config = BusConfig { prefix: "t.".into(), ..BusConfig::default() };
        config.producer.insert("linger.ms".into(), "50".into());
        let properties = [("session.timeout.ms", "9000"), ("linger.ms", "7"), ("security.protocol", "ssl")];
        let settings = Settings {
            brokers: "h:1".into(),
            properties: properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            config,
        };
        let (producer, consumer) = (settings.producer(), settings.group_consumer());
        assert_eq!(consumer.get("session.timeout.ms"), Some("9000"));
        assert_eq!(consumer.get("linger.ms"), None);
        assert_eq!(consumer.get("group.id"), Some("t.flagstop"));
        assert_eq!(producer.get("linger.ms"), Some("50"));
        assert_eq!(producer.get("session.timeout.ms"), None);
        assert_eq!(producer.get("security.protocol"), Some("ssl"));
        for client in [producer, consumer, settings.watcher(), settings.admin()] {
            client.create_native_config().expect("librdkafka knows all of our properties");
        }
    }
}
