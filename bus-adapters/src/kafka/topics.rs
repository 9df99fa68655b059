//! Topics: makes what is missing, verifies what is there. Blocking, as librdkafka is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::context::{Health, Plain};
use super::settings::Settings;
use super::wrong_property;
use crate::port::{BusError, Channel};

/// How long between looks at topics that are being made, in milliseconds.
const LOOK_MS: u64 = 100;

/// Topics that are there, with those of their partitions that have a leader.
type Present = BTreeMap<String, usize>;

pub(super) fn prepare(settings: &Settings, health: &Arc<Health>, declare: bool) -> Result<(), BusError> {
    let admin: AdminClient<Plain> =
        settings.admin().create_with_context(Plain(Arc::clone(health))).map_err(wrong_property)?;
    let present = present(&admin, settings)?;
    health.set_up();
    let config = &settings.config;
    if let Some(name) = config.extra_inputs.iter().find(|name| !present.contains_key(*name)) {
        return Err(BusError::Topology(format!(
            "topic `{name}` of `bus.extra_inputs` is missing; these topics belong to others and are never made: make it, or take it from the list"
        )));
    }
    let ours = [Channel::In, Channel::Status, Channel::Out, Channel::Dead].map(|channel| config.topic(channel));
    let missing: Vec<&String> = ours.iter().filter(|name| !present.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !declare {
        let names = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(BusError::Topology(format!(
            "missing topics: {names}; let the worker make them (bus.declare = true) or make them yourself"
        )));
    }
    make(&admin, settings, &missing)?;
    wait_for(&admin, settings, &missing)
}

fn present(admin: &AdminClient<Plain>, settings: &Settings) -> Result<Present, BusError> {
    let metadata = admin.inner().fetch_metadata(None, settings.config.connect_timeout()).map_err(|why| {
        BusError::Unreachable(format!(
            "Kafka at {} can't be reached within {} ms: {why}; check the URL, the brokers (also their advertised.listeners) and the security properties",
            settings.brokers, settings.config.connect_timeout_ms
        ))
    })?;
    let led = |topic: &rdkafka::metadata::MetadataTopic| {
        topic.partitions().iter().filter(|partition| partition.leader() >= 0).count()
    };
    Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), led(topic))).collect())
}

fn make(admin: &AdminClient<Plain>, settings: &Settings, missing: &[&String]) -> Result<(), BusError> {
    let config = &settings.config;
    let bytes_max = settings.message_bytes_max().to_string();
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|name| {
            NewTopic::new(name, config.partitions, TopicReplication::Fixed(config.replication_factor))
                .set("max.message.bytes", &bytes_max)
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

fn wait_for(admin: &AdminClient<Plain>, settings: &Settings, made: &[&String]) -> Result<(), BusError> {
    let end = Instant::now() + settings.config.connect_timeout();
    let wanted = usize::try_from(settings.config.partitions).unwrap_or(1);
    loop {
        let present = present(admin, settings)?;
        let lacking = made.iter().find(|name| present.get(**name).is_none_or(|led| *led < wanted));
        match lacking {
            None => return Ok(()),
            Some(name) if Instant::now() > end => {
                return Err(BusError::Topology(format!(
                    "topic `{name}` was made, but its partitions have no leader yet; try again"
                )));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(LOOK_MS)),
        }
    }
}
