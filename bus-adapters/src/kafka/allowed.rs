//! Which of librdkafka's properties may be set, whoever sets them. Refuses what would break a promise of the bus: delivery
//! at least once, a confirmation that means what it says, order per key. Opens nothing.

use std::collections::BTreeMap;

use crate::port::BusError;

/// What may stand behind a name.
struct Rule {
    names: &'static [&'static str],
    /// The values that change nothing of the promise; none: the name may not be set at all.
    values: &'static [&'static str],
    why: &'static str,
}

const RULES: [Rule; 7] = [
    Rule { names: &["bootstrap.servers", "metadata.broker.list"], values: &[], why: "the brokers stand in the URL" },
    Rule {
        names: &["enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store", "offset.store.method"],
        values: &[],
        why: "the driver stores and commits offsets itself, after the database's commit",
    },
    Rule { names: &["transactional.id"], values: &[], why: "the driver publishes without Kafka's transactions" },
    Rule {
        names: &["acks", "request.required.acks"],
        values: &["all", "-1"],
        why: "a confirmed message could be lost with one broker",
    },
    Rule {
        names: &["enable.idempotence"],
        values: &["true"],
        why: "a message that is sent again could come twice, or after a later one",
    },
    Rule {
        names: &["delivery.report.only.error"],
        values: &["false"],
        why: "the driver waits for the confirmation of each message",
    },
    Rule {
        names: &["partitioner"],
        values: &["consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random"],
        why: "events with the same key would lose their order",
    },
];

/// Refuses properties that the driver must keep as they are.
pub(crate) fn check(properties: &BTreeMap<String, String>) -> Result<(), BusError> {
    for rule in &RULES {
        for name in rule.names {
            let Some(value) = properties.get(*name) else { continue };
            if rule.values.iter().any(|allowed| allowed.eq_ignore_ascii_case(value.trim())) {
                continue;
            }
            let may = match rule.values {
                [] => "can't be set".to_owned(),
                values => format!("can't be `{value}`, only {}", values.join(", ")),
            };
            return Err(BusError::Url(format!("the Kafka property `{name}` {may}: {}; leave it out", rule.why)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        check(&[(name.to_owned(), value.to_owned())].into()).map_err(|why| why.to_string())
    }

    #[test]
    fn what_would_break_a_promise_is_refused_with_the_reason() {
        for (name, value, part) in [
            ("bootstrap.servers", "h:1", "stand in the URL"),
            ("enable.auto.commit", "false", "after the database's commit"),
            ("enable.auto.offset.store", "true", "after the database's commit"),
            ("transactional.id", "t", "transactions"),
            ("acks", "0", "can't be `0`, only all, -1"),
            ("acks", "1", "lost"),
            ("request.required.acks", "1", "lost"),
            ("enable.idempotence", "false", "only true"),
            ("delivery.report.only.error", "true", "confirmation"),
            ("partitioner", "random", "order"),
        ] {
            let why = checked(name, value).expect_err(name);
            assert!(why.starts_with("FS-BUS-URL: ") && why.contains(&format!("`{name}`")), "{why}");
            assert!(why.contains(part) && why.ends_with("leave it out"), "{why}");
        }
    }

    #[test]
    fn what_changes_nothing_of_the_promises_may_be_said() {
        for (name, value) in [
            ("acks", "all"),
            ("acks", "-1"),
            ("enable.idempotence", "True"),
            ("partitioner", "murmur2"),
            ("linger.ms", "20"),
        ] {
            assert_eq!(checked(name, value), Ok(()), "{name}={value}");
        }
    }
}
