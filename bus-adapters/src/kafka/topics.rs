//! Topics: makes what is missing, waits until they can be used, has what is there verified. Blocking, as librdkafka is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::context::{Health, Plain, Why};
use super::ends::{AGAIN_MS, PASSING, ends};
use super::settings::Settings;
use super::verify::{Role, Sizes, Topic, judge};
use super::wrong_property;
use crate::port::{BusError, Channel, Prepared};

/// After how long a topic that we make begins a new segment, in milliseconds. Messages go by segments: with Kafka's seven days
/// for both, one could stay for fourteen, longer than workers remember that they have consumed it.
const SEGMENT_MS: &str = "86400000";

pub(super) fn prepare(settings: &Settings, health: &Arc<Health>, declare: bool) -> Result<Prepared, BusError> {
    let admin: AdminClient<Plain> =
        settings.admin().create_with_context(Plain(Arc::clone(health))).map_err(wrong_property)?;
    let present = present(&admin, settings, health)?;
    health.set_up();
    let config = &settings.config;
    if let Some(name) = config.extra_inputs.iter().find(|name| !present.contains(*name)) {
        return Err(BusError::Topology(format!(
            "topic `{name}` of `bus.extra_inputs` is missing; these topics belong to others and are never made: make it, or take it from the list"
        )));
    }
    let ours = [Channel::In, Channel::Status, Channel::Out, Channel::Dead].map(|channel| config.topic(channel));
    let ours: Vec<String> = ours.into_iter().chain(config.own_commands()).collect();
    let missing: Vec<&String> = ours.iter().filter(|name| !present.contains(*name)).collect();
    if !missing.is_empty() && !declare {
        let names = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(BusError::Topology(format!(
            "missing topics: {names}; let the worker make them (bus.declare = true) or make them yourself"
        )));
    }
    if !missing.is_empty() {
        make(&admin, settings, &missing)?;
    }
    let deadline = Instant::now() + config.connect_timeout();
    let written = [config.topic(Channel::Status), config.topic(Channel::Dead)];
    let role = |name: &String| if written.contains(name) { Role::Written } else { Role::Both };
    let ours = ours.iter().map(|name| (name, role(name)));
    let all: Vec<(&String, Role)> = ours.chain(config.extra_inputs.iter().map(|name| (name, Role::Foreign))).collect();
    let names: Vec<&String> = all.iter().map(|(name, _)| *name).collect();
    let partitions = ready(settings, health, &names, deadline)?;
    let described = describe(&admin, &names, deadline);
    let why = described.why.unwrap_or_else(|| "the broker says nothing about it".into());
    let topics = all.iter().zip(partitions).map(|((name, role), partitions)| Topic {
        name: (*name).clone(),
        role: *role,
        partitions,
        settings: described.settings.get(*name).cloned().ok_or_else(|| why.clone()),
    });
    let sizes = Sizes { body_bytes_max: config.body_bytes_max, message_bytes_max: settings.message_bytes_max() };
    let mut prepared = judge(&topics.collect::<Vec<_>>(), sizes, config)?;
    prepared.warnings.extend(late_start(settings));
    Ok(prepared)
}

/// A group that begins at the end.
fn late_start(settings: &Settings) -> Option<String> {
    let consumer = settings.group_consumer();
    let from = consumer.get("auto.offset.reset").filter(|from| ["latest", "largest", "end"].contains(from))?;
    Some(format!(
        "FS-BUS-SETTINGS: auto.offset.reset={from}: messages that came before the group first committed, in a new partition \
         too, are skipped; leave it out, and set the group's offsets once with `kafka-consumer-groups.sh --reset-offsets`"
    ))
}

fn present(admin: &AdminClient<Plain>, settings: &Settings, health: &Health) -> Result<BTreeSet<String>, BusError> {
    let metadata = admin.inner().fetch_metadata(None, settings.config.connect_timeout()).map_err(|why| {
        // The call knows only that time is up; the reason came by itself.
        let (said, mend) = match health.why() {
            Some(Why { code: RDKafkaErrorCode::Authentication, said }) => (
                said,
                "it refuses the user or the password: correct sasl.username, sasl.password and sasl.mechanisms (in the URL \
                 percent-encoded), or set the user's password with `kafka-configs.sh`",
            ),
            Some(Why { code: RDKafkaErrorCode::SSL, said }) => {
                (said, "check security.protocol and the certificates (ssl.ca.location, and ours, if the broker wants one)")
            }
            Some(Why { code: RDKafkaErrorCode::Resolve, said }) => (said, "correct the host in the URL, or the name service"),
            other => (
                other.map_or_else(|| why.to_string(), |other| other.said),
                "check the URL's hosts and ports, the brokers (also their advertised.listeners) and the security properties",
            ),
        };
        BusError::Unreachable(format!(
            "Kafka at {} can't be reached within {} ms: {said}; {mend}",
            settings.brokers, settings.config.connect_timeout_ms
        ))
    })?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

fn make(admin: &AdminClient<Plain>, settings: &Settings, missing: &[&String]) -> Result<(), BusError> {
    let config = &settings.config;
    let bytes_max = settings.message_bytes_max().to_string();
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|name| {
            NewTopic::new(name, config.partitions, TopicReplication::Fixed(config.replication_factor))
                .set("max.message.bytes", &bytes_max)
                // Whatever the broker's own default is.
                .set("cleanup.policy", "delete")
                .set("segment.ms", SEGMENT_MS)
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(config.connect_timeout()));
    let made = tokio::runtime::Handle::current().block_on(admin.create_topics(&topics, &options));
    let results = made.map_err(|why| BusError::Topology(format!("the topics can't be made: {why}")))?;
    for result in results {
        match result {
            // Another worker was faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, why)) => {
                return Err(BusError::Topology(format!(
                    "topic `{name}` can't be made with {} partitions and {} copies: {why}; check bus.partitions, bus.replication_factor and the user's rights",
                    config.partitions, config.replication_factor
                )));
            }
        }
    }
    Ok(())
}

/// Waits until every partition has a leader that answers: "made" and "in the metadata" only mean that it will have one.
/// Answers how many partitions each topic has.
fn ready(
    settings: &Settings,
    health: &Arc<Health>,
    topics: &[&String],
    deadline: Instant,
) -> Result<Vec<usize>, BusError> {
    let consumer: BaseConsumer<Plain> =
        settings.watcher().create_with_context(Plain(Arc::clone(health))).map_err(wrong_property)?;
    let partitions = topics.iter().map(|topic| {
        ends(&consumer, topic, deadline).map(|ends| ends.len()).map_err(|why| {
            BusError::Unreachable(format!(
                "not every partition of the topic `{topic}` is led by a broker that answered within {} ms: {why}; try again, and look at the brokers' health and the user's right to describe the topic",
                settings.config.connect_timeout_ms
            ))
        })
    });
    partitions.collect()
}

/// The settings of topics by their names, and why some can't be read.
#[derive(Default)]
struct Described {
    settings: BTreeMap<String, BTreeMap<String, String>>,
    why: Option<String>,
}

fn describe(admin: &AdminClient<Plain>, topics: &[&String], deadline: Instant) -> Described {
    let again = Duration::from_millis(AGAIN_MS);
    // librdkafka refuses to ask for one twice.
    let names: BTreeSet<&str> = topics.iter().map(|name| name.as_str()).collect();
    let specifiers: Vec<ResourceSpecifier<'_>> = names.into_iter().map(ResourceSpecifier::Topic).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(again);
        let options = AdminOptions::new().request_timeout(Some(left));
        let answers = match tokio::runtime::Handle::current().block_on(admin.describe_configs(&specifiers, &options)) {
            Ok(answers) => answers,
            Err(why) => return Described { why: Some(why.to_string()), ..Described::default() },
        };
        // A broker may not have heard yet of a topic that was just made.
        let passing = answers.iter().any(|answer| answer.as_ref().is_err_and(|why| PASSING.contains(why)));
        if passing && left > again {
            std::thread::sleep(again);
            continue;
        }
        let mut described = Described::default();
        for answer in answers {
            // They come in any order, and refusals without a name.
            match answer {
                Ok(topic) => {
                    if let OwnedResourceSpecifier::Topic(name) = topic.specifier {
                        let set = topic.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
                        described.settings.insert(name, set.collect());
                    }
                }
                Err(why) => described.why = Some(KafkaError::AdminOp(why).to_string()),
            }
        }
        return described;
    }
}
