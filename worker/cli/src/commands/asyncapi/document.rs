//! The document: what all workflows share, then what each one hears and emits.
//!
//! ```text
//! servers ── channels (broker.topic) ── messages (broker.…) ── headers, payload (schemas of `flagstop schemas`)
//!                └── operations: what Flagstop receives and sends; of each workflow `namespace.name.version.hears.broker`
//! ```

use std::collections::BTreeMap;

use flagstop_bus::port::Commands;
use flagstop_engine::{EventUse, Plan};
use serde_json::{Map, Value, json};

use super::broker::{Broker, TOPICS, Topic};
use crate::config::Config;

/// Types of CloudEvents that are commands and their answers.
const COMMAND: &str = "io.flagstop.command.";

/// Types of status events.
const STATUS: &str = "io.serverlessworkflow.";

/// Names of the schema files of answers; all others in `command/` are commands.
const ANSWERS: [&str; 2] = ["accepted.v1", "rejected.v1"];

/// A document under construction.
pub struct Document {
    brokers: Vec<Broker>,
    root: Value,
    /// Authors' event types, each with its key in the document; `None` stands for a type that only an expression knows.
    types: BTreeMap<Option<String>, String>,
}

impl Document {
    /// What all workflows share.
    pub fn new(config: &Config, brokers: &[Broker]) -> Self {
        let mut chosen: Vec<Broker> = Vec::new();
        for broker in brokers {
            if !chosen.contains(broker) {
                chosen.push(*broker);
            }
        }
        let mut document = Self {
            brokers: chosen,
            root: json!({
                "asyncapi": "3.0.0",
                "info": {
                    "title": "Flagstop",
                    "version": env!("CARGO_PKG_VERSION"),
                    "description": "Durable workflows that are started and resumed by CloudEvents, and that tell each \
                        of their steps as one. Described are messages in binary mode; structured mode is taken too. \
                        Status events are delivered at least once, in order per instance: drop by `id`.",
                    "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
                },
                "defaultContentType": "application/json",
                "servers": {},
                "channels": {},
                "operations": {},
                "components": { "messages": {}, "schemas": {} },
            }),
            types: BTreeMap::new(),
        };
        // The patterns were checked with the rest of the configuration; what a worker refuses, nothing leaves by.
        let published = flagstop_runtime::published(&config.worker.status.events).unwrap_or_default();
        let mut commanded = Vec::new();
        if config.bus.commands == Commands::Accept {
            commanded.push(Topic::In);
        }
        if !config.bus.names.commands.is_empty() {
            commanded.push(Topic::Commands);
        }
        for broker in document.brokers.clone() {
            document.root["servers"][broker.key()] = broker.server(config.bus_url().ok());
            for topic in TOPICS {
                let mut channel = broker.channel(topic, &config.bus);
                channel["messages"] = json!({});
                document.root["channels"][channel_key(broker, topic)] = channel;
            }
            document.root["components"]["schemas"][format!("{}.headers", broker.key())] = headers(broker);
            document.root["components"]["schemas"][format!("{}.status.headers", broker.key())] = status_headers(broker);
            document.shared(broker, &published, &commanded);
            document.drop_empty(broker);
        }
        document
    }

    /// Status events, commands, answers and dead letters.
    fn shared(&mut self, broker: Broker, published: &[&str], commanded: &[Topic]) {
        for (path, text) in flagstop_schemas::schema_files() {
            let Some((folder, file)) = path.split_once('/') else { continue };
            let name = file.trim_end_matches(".schema.json");
            let (topics, prefix): (&[Topic], &str) = match folder {
                "status" => (&[Topic::Status], STATUS),
                "command" if ANSWERS.contains(&name) => (&[Topic::Answers], COMMAND),
                "command" => (commanded, COMMAND),
                _ => continue,
            };
            let ty = format!("{prefix}{name}");
            if folder == "status" && !published.contains(&ty.as_str()) {
                continue;
            }
            let schema: Value = serde_json::from_str(text).expect("the schema files are tested to be JSON");
            for topic in topics {
                self.described(broker, *topic, &ty, &format!("{folder}.{name}"), &schema);
            }
        }
        let letter = json!({
            "name": "Dead letter",
            "title": "Dead letter",
            "summary": "A message that could not be used, with its body and its headers as they were.",
            "headers": {
                "type": "object",
                "required": ["flagstop-reason", "flagstop-code", "flagstop-origin"],
                "properties": {
                    "flagstop-reason": { "type": "string", "description": "What is wrong, and how to mend it." },
                    "flagstop-code": { "type": "string", "pattern": "^FS-", "description": "The same as a stable code." },
                    "flagstop-origin": { "type": "string", "description": "Queue or topic, partition and offset." },
                },
            },
            "payload": {},
        });
        self.message(broker, Topic::Dead, "letter", letter);
        self.operation(broker, "flagstop.tells", Topic::Status, Send, "Every status event of every workflow", None);
        self.operation(broker, "flagstop.sets-aside", Topic::Dead, Send, "Messages that could not be used", None);
        for topic in commanded {
            let name = if *topic == Topic::In { "flagstop.obeys" } else { "flagstop.obeys-alone" };
            let commands = self.messages(broker, *topic);
            self.operation(broker, name, *topic, Receive, "Commands to workflows", Some(commands));
            let answers = self.messages(broker, Topic::Answers);
            let refs: Vec<Value> = answers.iter().map(|key| message_ref(broker, Topic::Answers, key)).collect();
            let reply = json!({ "channel": channel_ref(broker, Topic::Answers), "messages": refs });
            self.root["operations"][operation_key(name, broker)]["reply"] = reply;
        }
    }

    /// A place for commands that is not configured is not there.
    fn drop_empty(&mut self, broker: Broker) {
        let key = channel_key(broker, Topic::Commands);
        if self.messages(broker, Topic::Commands).is_empty()
            && let Some(channels) = self.root["channels"].as_object_mut()
        {
            channels.remove(&key);
        }
    }

    /// A message with a schema of ours.
    fn described(&mut self, broker: Broker, topic: Topic, ty: &str, key: &str, schema: &Value) {
        let mut payload = schema.clone();
        let id = payload["$id"].take();
        if let Some(map) = payload.as_object_mut() {
            map.retain(|name, _| !["$schema", "$id", "examples"].contains(&name.as_str()));
        }
        self.root["components"]["schemas"][key] = payload;
        let (of, dataschema) = match topic {
            Topic::Status => (format!("{}.status.headers", broker.key()), Some(id)),
            _ => (format!("{}.headers", broker.key()), None),
        };
        let mut constants = json!({ broker.header("type"): { "const": ty } });
        if let Some(id) = dataschema {
            constants[broker.header("dataschema")] = json!({ "const": id });
        }
        let message = json!({
            "name": ty,
            "title": schema["title"],
            "summary": schema["description"],
            "contentType": "application/json",
            "headers": { "allOf": [schema_ref(&of), { "type": "object", "properties": constants }] },
            "payload": schema_ref(key),
            "bindings": bindings(broker, topic),
            "examples": example(schema),
        });
        self.message(broker, topic, key, message);
    }

    /// What one workflow hears and emits.
    pub fn add(&mut self, plan: &Plan) {
        let traffic = plan.traffic();
        let it = plan.reference();
        let who = format!("{}/{} {}", it.namespace, it.name, it.version);
        let key = safe(&format!("{}.{}.{}", it.namespace, it.name, it.version));
        let parts = [
            ("starts-on", Topic::In, Receive, "Events that start", &traffic.starts),
            ("listens-to", Topic::In, Receive, "Events that instances wait for:", &traffic.listens),
            ("emits", Topic::Out, Send, "Events that are emitted by", &traffic.emits),
        ];
        for broker in self.brokers.clone() {
            for (what, topic, action, says, uses) in parts {
                if uses.is_empty() {
                    continue;
                }
                let mut keys: Vec<String> = uses.iter().map(|used| self.event(broker, topic, used)).collect();
                keys.sort();
                keys.dedup();
                let title = format!("{says} {who}");
                let name = format!("{key}.{what}");
                self.operation(broker, &name, topic, action, &title, Some(keys));
                let operation = &mut self.root["operations"][operation_key(&name, broker)];
                operation["tags"] = json!([{ "name": format!("{}/{}", it.namespace, it.name) }]);
                operation[format!("x-flagstop-{}", if topic == Topic::Out { "events" } else { "filters" })] =
                    uses.iter().map(filter).collect();
            }
        }
    }

    /// The message of an author's event, made where it is missing. Gives its key.
    fn event(&mut self, broker: Broker, topic: Topic, used: &EventUse) -> String {
        let ty = used.event_type();
        let key = self.type_key(ty);
        let headers = match ty {
            Some(ty) => {
                let constants = json!({ broker.header("type"): { "const": ty } });
                json!({ "allOf": [schema_ref(&format!("{}.headers", broker.key())), { "type": "object", "properties": constants }] })
            }
            None => schema_ref(&format!("{}.headers", broker.key())),
        };
        let message = json!({
            "name": ty.unwrap_or("any event"),
            "title": ty.unwrap_or("Any event"),
            "summary": match ty {
                Some(_) => "An event of the authors' own; its data is theirs to describe.",
                None => "An event whose type only an expression knows; see the operation's filters.",
            },
            "headers": headers,
            "payload": {},
            "bindings": bindings(broker, topic),
        });
        self.message(broker, topic, &key, message);
        key
    }

    /// A key that only this type has.
    fn type_key(&mut self, ty: Option<&str>) -> String {
        let ty = ty.map(str::to_owned);
        if let Some(key) = self.types.get(&ty) {
            return key.clone();
        }
        let base = ty.as_deref().map_or_else(|| "any".to_owned(), |ty| format!("event.{}", safe(ty)));
        let mut key = base.clone();
        let mut number = 2;
        while self.types.values().any(|taken| *taken == key) {
            key = format!("{base}_{number}");
            number += 1;
        }
        self.types.insert(ty, key.clone());
        key
    }

    /// Puts a message under components and into its channel.
    fn message(&mut self, broker: Broker, topic: Topic, key: &str, message: Value) {
        let component = format!("{}.{}.{key}", broker.key(), topic.key());
        let reference = json!({ "$ref": format!("#/components/messages/{component}") });
        self.root["components"]["messages"][component] = message;
        self.root["channels"][channel_key(broker, topic)]["messages"][key] = reference;
    }

    /// The keys of a channel's messages so far.
    fn messages(&self, broker: Broker, topic: Topic) -> Vec<String> {
        let messages = self.root["channels"][channel_key(broker, topic)]["messages"].as_object();
        messages.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    fn operation(
        &mut self,
        broker: Broker,
        name: &str,
        topic: Topic,
        action: Action,
        title: &str,
        messages: Option<Vec<String>>,
    ) {
        let messages = messages.unwrap_or_else(|| self.messages(broker, topic));
        let refs: Vec<Value> = messages.iter().map(|key| message_ref(broker, topic, key)).collect();
        let mut operation = json!({
            "action": match action { Send => "send", Receive => "receive" },
            "channel": channel_ref(broker, topic),
            "title": title,
            "summary": format!("{title}."),
            "messages": refs,
        });
        if broker == Broker::Rabbitmq && action == Send {
            operation["bindings"] = json!({ "amqp": { "deliveryMode": 2, "bindingVersion": "0.3.0" } });
        }
        self.root["operations"][operation_key(name, broker)] = operation;
    }

    /// The whole document.
    pub fn finish(self) -> Value {
        self.root
    }
}

/// What Flagstop does on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Send,
    Receive,
}

use Action::{Receive, Send};

fn channel_key(broker: Broker, topic: Topic) -> String {
    format!("{}.{}", broker.key(), topic.key())
}

fn operation_key(name: &str, broker: Broker) -> String {
    format!("{name}.{}", broker.key())
}

fn channel_ref(broker: Broker, topic: Topic) -> Value {
    json!({ "$ref": format!("#/channels/{}", channel_key(broker, topic)) })
}

fn message_ref(broker: Broker, topic: Topic, key: &str) -> Value {
    json!({ "$ref": format!("#/channels/{}/messages/{key}", channel_key(broker, topic)) })
}

fn schema_ref(key: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{key}") })
}

/// Keys of the document hold letters, digits, `-`, `_` and `.`.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// The attributes that every event has, and those that many have.
fn headers(broker: Broker) -> Value {
    let attribute = |name: &str, schema: Value| (broker.header(name), schema);
    let properties: Map<String, Value> = [
        attribute("specversion", json!({ "type": "string", "const": "1.0" })),
        attribute("id", json!({ "type": "string", "description": "With the source: what duplicates share." })),
        attribute("source", json!({ "type": "string", "format": "uri-reference" })),
        attribute("type", json!({ "type": "string" })),
        attribute("subject", json!({ "type": "string", "description": "Of a command: the instance's id." })),
        attribute("time", json!({ "type": "string", "format": "date-time" })),
        attribute("datacontenttype", json!({ "type": "string" })),
        attribute("dataschema", json!({ "type": "string", "format": "uri" })),
    ]
    .into_iter()
    .collect();
    let required = ["specversion", "id", "source", "type"].map(|name| broker.header(name));
    json!({ "type": "object", "required": required, "properties": properties })
}

/// The attributes of status events.
fn status_headers(broker: Broker) -> Value {
    let text = |says: &str| json!({ "type": "string", "description": says });
    let properties: Map<String, Value> = [
        ("subject", text("The instance's id.")),
        ("sequence", json!({ "type": "string", "pattern": "^[0-9]+$", "description": "Counts the instance's events from 1, without gaps. The optional `*.status-changed` have none." })),
        ("partitionkey", text("The instance's id.")),
        ("businesskey", text("The author's key of the business object, where the definition has one.")),
        ("task", text("JSON Pointer of the task, in `workflow.correlation-*`.")),
        ("attempt", json!({ "type": ["integer", "string"], "description": "Of a retried task: which attempt." })),
        ("iteration", json!({ "type": ["integer", "string"], "description": "Of a task in a loop: which round." })),
        ("causationid", text("In `workflow.started`: the id of the event that started the instance.")),
        ("causationsource", text("In `workflow.started`: its source.")),
    ]
    .into_iter()
    .map(|(name, schema)| (broker.header(name), schema))
    .collect();
    let required = ["subject", "partitionkey", "time", "dataschema"].map(|name| broker.header(name));
    let base = schema_ref(&format!("{}.headers", broker.key()));
    json!({ "allOf": [base, { "type": "object", "required": required, "properties": properties }] })
}

/// What the broker itself is told of a message.
fn bindings(broker: Broker, topic: Topic) -> Value {
    match (broker, topic) {
        (Broker::Kafka, Topic::Status) => json!({ "kafka": {
            "key": { "type": "string", "description": "The instance's id." },
            "bindingVersion": "0.5.0",
        } }),
        _ => json!({}),
    }
}

/// The schema's first example, if it has one.
fn example(schema: &Value) -> Value {
    schema["examples"].as_array().into_iter().flatten().take(1).map(|payload| json!({ "payload": payload })).collect()
}

/// A filter, or an `emit`, as its author wrote it.
fn filter(used: &EventUse) -> Value {
    let mut filter = json!({ "at": used.pointer, "with": used.with });
    if !used.correlate.is_null() {
        filter["correlate"] = used.correlate.clone();
    }
    filter
}
