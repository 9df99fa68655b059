//! What is different between the brokers: addresses, bindings, the names of headers.

use clap::ValueEnum;
use flagstop_bus::BusConfig;
use serde_json::{Value, json};

/// The brokers that can carry the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Broker {
    /// RabbitMQ, AMQP 0-9-1
    Rabbitmq,
    /// Apache Kafka
    Kafka,
}

/// What the messages of one channel are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Events for the workflows, and commands unless these are refused there.
    In,
    /// Commands alone, where they have a place of their own.
    Commands,
    /// Status events.
    Status,
    /// Answers to commands.
    Answers,
    /// The events that workflows emit.
    Out,
    /// Messages that could not be used.
    Dead,
}

/// All of them, in the document's order.
pub const TOPICS: [Topic; 6] = [Topic::In, Topic::Commands, Topic::Status, Topic::Answers, Topic::Out, Topic::Dead];

impl Topic {
    /// Its name in keys of the document.
    pub fn key(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Commands => "commands",
            Self::Status => "status",
            Self::Answers => "answers",
            Self::Out => "out",
            Self::Dead => "dead",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::In => "Events for workflows",
            Self::Commands => "Commands to workflows",
            Self::Status => "Status events",
            Self::Answers => "Answers to commands",
            Self::Out => "Events that workflows emit",
            Self::Dead => "Dead letters",
        }
    }
}

impl Broker {
    /// Its name in keys of the document.
    pub fn key(self) -> &'static str {
        match self {
            Self::Rabbitmq => "rabbitmq",
            Self::Kafka => "kafka",
        }
    }

    /// Where a CloudEvents attribute stands in binary mode.
    pub fn header(self, attribute: &str) -> String {
        match (self, attribute) {
            (Self::Kafka, "datacontenttype") => "content-type".to_owned(),
            (Self::Kafka, _) => format!("ce_{attribute}"),
            (Self::Rabbitmq, _) => format!("cloudEvents_{attribute}"),
        }
    }

    /// The server, at the configured address where that is one of this broker.
    pub fn server(self, bus_url: Option<&str>) -> Value {
        let (schemes, host, version): (&[&str], _, _) = match self {
            Self::Rabbitmq => (&["amqp", "amqps"], "localhost:5672", "0.9.1"),
            Self::Kafka => (&["kafka"], "localhost:9092", "3"),
        };
        let configured = bus_url.and_then(|url| {
            let (scheme, rest) = url.split_once("://")?;
            let place = rest.split(['/', '?']).next()?;
            let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
            schemes.contains(&scheme).then(|| (scheme.to_owned(), host.to_owned()))
        });
        let (protocol, host) = configured.unwrap_or_else(|| (schemes[0].to_owned(), host.to_owned()));
        let mut server = json!({ "host": host, "protocol": protocol, "description": "The broker of `bus.url`." });
        if self == Self::Rabbitmq {
            server["protocolVersion"] = version.into();
        }
        server
    }

    /// A channel without its messages.
    pub fn channel(self, topic: Topic, config: &BusConfig) -> Value {
        let mut channel = json!({
            "address": self.address(topic, config),
            "title": topic.title(),
            "description": self.description(topic, config),
            "servers": [{ "$ref": format!("#/servers/{}", self.key()) }],
            "bindings": self.bindings(topic, config),
        });
        if self == Self::Rabbitmq {
            match topic {
                Topic::In | Topic::Commands | Topic::Out => {
                    channel["parameters"] = json!({ "type": { "description": "The event's type." } });
                }
                Topic::Status => {
                    channel["parameters"] = json!({
                        "namespace": { "description": "The definition's namespace." },
                        "name": { "description": "The definition's name." },
                        "scope": { "description": "What the event is about.", "enum": ["workflow", "task"] },
                        "what": { "description": "What happened, such as `completed`." },
                    });
                }
                Topic::Answers => {
                    let answers = ["accepted", "rejected"];
                    channel["parameters"] = json!({ "answer": { "description": "The answer.", "enum": answers } });
                }
                Topic::Dead => {
                    channel["parameters"] = json!({ "code": { "description": "Why, as a stable code `FS-…`." } });
                }
            }
        }
        channel
    }

    /// Routing keys on RabbitMQ, topics on Kafka.
    fn address(self, topic: Topic, config: &BusConfig) -> String {
        match (self, topic) {
            (Self::Kafka, _) => self.place(topic, config),
            (Self::Rabbitmq, Topic::In | Topic::Commands | Topic::Out) => "{type}".to_owned(),
            (Self::Rabbitmq, Topic::Status) => "{namespace}.{name}.{scope}.{what}".to_owned(),
            (Self::Rabbitmq, Topic::Answers) => "command.{answer}".to_owned(),
            (Self::Rabbitmq, Topic::Dead) => "{code}".to_owned(),
        }
    }

    /// The exchange or the topic.
    fn place(self, topic: Topic, config: &BusConfig) -> String {
        let names = &config.names;
        let name = match (topic, self) {
            (Topic::In, _) => &names.input,
            (Topic::Commands, _) => &names.commands,
            (Topic::Status | Topic::Answers, _) => &names.status,
            (Topic::Out, _) => &names.output,
            (Topic::Dead, Self::Rabbitmq) => &names.dead,
            (Topic::Dead, Self::Kafka) => &names.dead_letters,
        };
        format!("{}{name}", config.prefix)
    }

    fn description(self, topic: Topic, config: &BusConfig) -> String {
        let place = self.place(topic, config);
        let named = |name: &str| format!("`{}{name}`", config.prefix);
        match (self, topic) {
            (Self::Rabbitmq, Topic::In) => format!(
                "Topic exchange `{place}`. The workers read the queue {}, which is bound to it with `#`; bind your own \
                 exchanges to it, or publish to it with any routing key.",
                named(&config.names.work)
            ),
            (Self::Rabbitmq, Topic::Commands) => {
                format!("Topic exchange `{place}` with a queue of the same name, for those who may command.")
            }
            (Self::Kafka, Topic::Commands) => format!("Topic `{place}`, for those who may command."),
            (Self::Rabbitmq, Topic::Status) => format!(
                "Topic exchange `{place}`: bind a queue of your own, `hr.*.workflow.#` for the workflows of one namespace, say."
            ),
            (Self::Rabbitmq, Topic::Answers) => {
                format!("Topic exchange `{place}`: bind a queue of your own with `command.*`.")
            }
            (Self::Rabbitmq, Topic::Out) => {
                format!(
                    "Topic exchange `{place}`, bound to {}, so that workflows hear each other.",
                    named(&config.names.input)
                )
            }
            (Self::Rabbitmq, Topic::Dead) => {
                format!("Topic exchange `{place}`, bound to the queue {}.", named(&config.names.dead_letters))
            }
            (Self::Kafka, Topic::In) => {
                let more = match config.extra_inputs.as_slice() {
                    [] => String::new(),
                    topics => format!(" The workers read these topics, too: {}.", topics.join(", ")),
                };
                format!("Topic `{place}`, read by the group {}.{more}", named(&config.names.group))
            }
            (Self::Kafka, Topic::Status) => {
                format!("Topic `{place}`; the key is the instance's id, so its events keep their order.")
            }
            (Self::Kafka, Topic::Answers) => format!("Topic `{place}`, among the status events."),
            (Self::Kafka, Topic::Out) => {
                format!(
                    "Topic `{place}`, which the workers read, too. The key is the event's `partitionkey` or its subject."
                )
            }
            (Self::Kafka, Topic::Dead) => format!("Topic `{place}`."),
        }
    }

    fn bindings(self, topic: Topic, config: &BusConfig) -> Value {
        let place = self.place(topic, config);
        match self {
            Self::Rabbitmq => json!({ "amqp": {
                "is": "routingKey",
                "exchange": { "name": place, "type": "topic", "durable": true, "autoDelete": false, "vhost": "/" },
                "bindingVersion": "0.3.0",
            } }),
            Self::Kafka => json!({ "kafka": { "topic": place, "bindingVersion": "0.5.0" } }),
        }
    }
}
