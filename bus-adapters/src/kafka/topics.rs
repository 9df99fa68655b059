//! Topics: makes what is missing, verifies what is there, waits until they can be used. Blocking, as librdkafka is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;

use super::context::{Health, Plain};
use super::ends::ends;
use super::settings::Settings;
use super::wrong_property;
use crate::port::{BusError, Channel};

pub(super) fn prepare(settings: &Settings, health: &Arc<Health>, declare: bool) -> Result<(), BusError> {
    let admin: AdminClient<Plain> =
        settings.admin().create_with_context(Plain(Arc::clone(health))).map_err(wrong_property)?;
    let present = present(&admin, settings)?;
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
    ready(settings, health, &ours.iter().chain(&config.extra_inputs).collect::<Vec<_>>())
}

fn present(admin: &AdminClient<Plain>, settings: &Settings) -> Result<BTreeSet<String>, BusError> {
    let metadata = admin.inner().fetch_metadata(None, settings.config.connect_timeout()).map_err(|why| {
        BusError::Unreachable(format!(
            "Kafka at {} can't be reached within {} ms: {why}; check the URL, the brokers (also their advertised.listeners) and the security properties",
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
fn ready(settings: &Settings, health: &Arc<Health>, topics: &[&String]) -> Result<(), BusError> {
    let consumer: BaseConsumer<Plain> =
        settings.watcher().create_with_context(Plain(Arc::clone(health))).map_err(wrong_property)?;
    let deadline = Instant::now() + settings.config.connect_timeout();
    for topic in topics {
        ends(&consumer, topic, deadline).map_err(|why| {
            BusError::Unreachable(format!(
                "not every partition of the topic `{topic}` is led by a broker that answered within {} ms: {why}; try again, and look at the brokers' health and the user's right to describe the topic",
                settings.config.connect_timeout_ms
            ))
        })?;
    }
    Ok(())
}
