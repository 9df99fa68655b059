//! What is wrong with the settings of topics that are there. Judges only: never asks and never changes. An error is what
//! loses messages or refuses what we send; a warning is what an operator may have wanted.

use std::collections::BTreeMap;

use crate::config::BusConfig;
use crate::port::{BusError, Kept, Prepared};

/// What a record adds to a body of its largest size at least, in bytes.
const RECORD_BYTES_MIN: usize = 12;
/// Shortest time for which a topic should keep messages, in milliseconds: an outage over a night must not lose any.
const KEPT_MIN_MS: i64 = 24 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;

/// A topic as it is.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) partitions: usize,
    /// Its effective settings; why not, when they can't be read.
    pub(super) settings: Result<BTreeMap<String, String>, String>,
}

/// What we do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// We write to it, and workers consume it.
    Both,
    /// We write to it.
    Written,
    /// `bus.extra_inputs`: it belongs to others, workers consume it.
    Foreign,
}

/// Largest message that we may send, with all that is around it, and what it is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) body_bytes_max: usize,
    pub(super) message_bytes_max: usize,
}

pub(super) fn judge(topics: &[Topic], sizes: Sizes, config: &BusConfig) -> Result<Prepared, BusError> {
    let mut prepared = Prepared::default();
    let mut wrong = Vec::new();
    for topic in topics {
        partitions(topic, config, &mut prepared.warnings);
        match &topic.settings {
            Err(why) => prepared.warnings.push(format!(
                "FS-BUS-SETTINGS: the settings of the topic `{}` can't be read, so they were not verified: {why}; grant \
                 the user DescribeConfigs on it",
                topic.name
            )),
            Ok(settings) => settled(topic, settings, sizes, &mut prepared, &mut wrong),
        }
    }
    if wrong.is_empty() { Ok(prepared) } else { Err(BusError::Topology(wrong.join("; "))) }
}

/// One topic whose settings are known.
fn settled(
    topic: &Topic,
    settings: &BTreeMap<String, String>,
    sizes: Sizes,
    prepared: &mut Prepared,
    wrong: &mut Vec<String>,
) {
    let name = &topic.name;
    let text = |key: &str| settings.get(key).map_or("", String::as_str);
    let number = |key: &str| settings.get(key).and_then(|value| value.parse::<i64>().ok());
    if text("cleanup.policy").contains("compact") {
        let what = format!(
            "the topic `{name}` is compacted (cleanup.policy={}): Kafka deletes a message when a later one has its key, \
             whether it was read or not",
            text("cleanup.policy")
        );
        if topic.role == Role::Foreign {
            prepared.warnings.push(format!(
                "FS-BUS-SETTINGS: {what}; it belongs to others, so be sure that every message may be replaced by its successor"
            ));
        } else {
            wrong.push(format!(
                "{what}; {}, or choose other names (bus.prefix, bus.names)",
                alter(name, "cleanup.policy=delete")
            ));
        }
    }
    if topic.role != Role::Foreign
        && let Some(bytes_max) = number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok())
        && bytes_max < sizes.message_bytes_max
    {
        let needed = sizes.message_bytes_max;
        let around = needed - sizes.body_bytes_max;
        let what = format!(
            "the topic `{name}` takes messages of at most {bytes_max} bytes (max.message.bytes), and up to {needed} are sent: \
             bus.body_bytes_max ({}) and {around} for headers and what is around them",
            sizes.body_bytes_max
        );
        let mut mend = alter(name, &format!("max.message.bytes={needed}"));
        if bytes_max > around {
            mend = format!("{mend}, or lower bus.body_bytes_max to {}", bytes_max - around);
        }
        // What Kafka allows by default has room for the largest body, not for all headers around it.
        if bytes_max < sizes.body_bytes_max + RECORD_BYTES_MIN {
            wrong.push(format!("{what}; {mend}"));
        } else {
            prepared.warnings.push(format!("FS-BUS-SETTINGS: {what}; larger ones are refused: {mend}"));
        }
    }
    if text("unclean.leader.election.enable") == "true" {
        prepared.warnings.push(format!(
            "FS-BUS-SETTINGS: the topic `{name}` may be led by a broker that lacks confirmed messages \
             (unclean.leader.election.enable=true), which are lost then; {}",
            alter(name, "unclean.leader.election.enable=false")
        ));
    }
    kept(topic, number("retention.ms"), number("retention.bytes"), number("segment.ms"), prepared);
}

fn kept(
    topic: &Topic,
    retention_ms: Option<i64>,
    retention_bytes: Option<i64>,
    segment_ms: Option<i64>,
    prepared: &mut Prepared,
) {
    let name = &topic.name;
    if let Some(ms) = retention_ms.filter(|ms| (0..KEPT_MIN_MS).contains(ms)) {
        prepared.warnings.push(format!(
            "FS-CONFIG-RETENTION: the topic `{name}` keeps messages for {ms} ms only (retention.ms): what nobody has read \
             by then is lost; {}, or to longer than the longest outage that must lose nothing",
            alter(name, &format!("retention.ms={}", 7 * KEPT_MIN_MS))
        ));
    }
    if let Some(bytes) = retention_bytes.filter(|bytes| *bytes >= 0) {
        prepared.warnings.push(format!(
            "FS-CONFIG-RETENTION: the topic `{name}` keeps at most {bytes} bytes per partition (retention.bytes): what nobody \
             has read when it is full is lost; {}",
            alter(name, "retention.bytes=-1")
        ));
    }
    if let (Role::Both | Role::Foreign, Some(ms)) = (topic.role, retention_ms) {
        // A segment goes as a whole, once its last message is old enough.
        let longest_ms =
            u64::try_from(ms).ok().map(|ms| ms.saturating_add(segment_ms.unwrap_or(0).max(0).unsigned_abs()));
        prepared.kept.push(Kept { name: name.clone(), longest_ms });
    }
}

/// More partitions than by default are no mistake; any other number than a chosen one may be.
fn partitions(topic: &Topic, config: &BusConfig, warnings: &mut Vec<String>) {
    let wanted = usize::try_from(config.partitions).unwrap_or_default();
    let chosen = config.partitions != BusConfig::default().partitions;
    if topic.role != Role::Foreign && (topic.partitions < wanted || (chosen && topic.partitions != wanted)) {
        warnings.push(format!(
            "FS-BUS-SETTINGS: the topic `{}` has {} partitions, and bus.partitions says {wanted}: what is there is never \
             changed, and at most {} workers share it; set bus.partitions to what is there, or add partitions while nothing \
             is under way (messages of one key move to another partition)",
            topic.name, topic.partitions, topic.partitions
        ));
    }
}

/// The command that sets it.
fn alter(topic: &str, setting: &str) -> String {
    format!(
        "set it with `kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name {topic} --add-config {setting}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { body_bytes_max: 1_000, message_bytes_max: 1_300 };

    fn topic(role: Role, settings: &[(&str, &str)]) -> Topic {
        let usual = [("cleanup.policy", "delete"), ("max.message.bytes", "1300"), ("retention.ms", "604800000")];
        let all = usual.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Topic { name: "in".into(), role, partitions: 4, settings: Ok(all.collect()) }
    }

    fn judged(role: Role, settings: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let judged = judge(&[topic(role, settings)], SIZES, &BusConfig::default());
        judged.map(|prepared| prepared.warnings).map_err(|why| why.to_string())
    }

    #[test]
    fn what_we_make_ourselves_is_right() {
        assert_eq!(judged(Role::Both, &[]), Ok(vec![]));
        assert_eq!(judged(Role::Written, &[("retention.ms", "-1"), ("retention.bytes", "-1")]), Ok(vec![]));
    }

    #[test]
    fn a_compacted_topic_is_refused_and_of_others_warned_about() {
        for policy in ["compact", "compact,delete"] {
            for role in [Role::Both, Role::Written] {
                let why = judged(role, &[("cleanup.policy", policy)]).unwrap_err();
                assert!(why.starts_with("FS-BUS-TOPOLOGY: the topic `in` is compacted"), "{why}");
                assert!(why.contains("--entity-name in --add-config cleanup.policy=delete"), "{why}");
            }
            let warnings = judged(Role::Foreign, &[("cleanup.policy", policy)]).unwrap();
            assert!(warnings[0].starts_with("FS-BUS-SETTINGS: ") && warnings[0].contains("compacted"), "{warnings:?}");
        }
    }

    #[test]
    fn a_topic_that_takes_less_than_the_largest_body_is_refused() {
        let why = judged(Role::Written, &[("max.message.bytes", "1011")]).unwrap_err();
        for part in ["FS-BUS-TOPOLOGY: ", "at most 1011 bytes", "max.message.bytes=1300", "bus.body_bytes_max to 711"] {
            assert!(why.contains(part), "{why} has {part}");
        }
        let warnings = judged(Role::Both, &[("max.message.bytes", "1299")]).unwrap();
        assert!(warnings[0].contains("FS-BUS-SETTINGS: ") && warnings[0].contains("are refused"), "{warnings:?}");
        assert_eq!(judged(Role::Foreign, &[("max.message.bytes", "10")]), Ok(vec![]), "nothing is sent there");
    }

    #[test]
    fn topics_that_forget_are_warned_about_and_it_is_told_how_long_they_keep() {
        for (key, value) in [("retention.ms", "3600000"), ("retention.bytes", "1000000")] {
            let warnings = judged(Role::Written, &[(key, value)]).unwrap();
            assert!(warnings[0].starts_with("FS-CONFIG-RETENTION: ") && warnings[0].contains(key), "{warnings:?}");
        }
        let warnings = judged(Role::Both, &[("unclean.leader.election.enable", "true")]).unwrap();
        assert!(warnings[0].contains("unclean.leader.election.enable=false"), "{warnings:?}");

        let topics = [
            topic(Role::Both, &[("segment.ms", "86400000")]),
            topic(Role::Foreign, &[("retention.ms", "-1")]),
            topic(Role::Written, &[]),
        ];
        let kept = judge(&topics, SIZES, &BusConfig::default()).unwrap().kept;
        assert_eq!(kept.iter().map(|kept| kept.longest_ms).collect::<Vec<_>>(), [Some(691_200_000), None]);
    }

    #[test]
    fn another_number_of_partitions_is_said_where_it_matters() {
        let said = |partitions: usize, wanted: i32| {
            let config = BusConfig { partitions: wanted, ..BusConfig::default() };
            let topic = Topic { partitions, ..topic(Role::Both, &[]) };
            judge(&[topic], SIZES, &config).unwrap().warnings
        };
        assert!(said(4, 4).is_empty() && said(12, 4).is_empty(), "more than by default");
        for (partitions, wanted) in [(1, 4), (12, 8), (8, 12)] {
            let warnings = said(partitions, wanted);
            let part = format!("has {partitions} partitions, and bus.partitions says {wanted}");
            assert!(warnings[0].contains("FS-BUS-SETTINGS") && warnings[0].contains(&part), "{warnings:?}");
        }
    }

    #[test]
    fn settings_that_may_not_be_read_are_no_reason_to_refuse() {
        let secret = Topic { settings: Err("not authorized".into()), ..topic(Role::Both, &[]) };
        let warnings = judge(&[secret], SIZES, &BusConfig::default()).unwrap().warnings;
        assert!(warnings[0].contains("DescribeConfigs") && warnings[0].contains("not authorized"), "{warnings:?}");
    }
}
