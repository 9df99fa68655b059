//! The worker's metrics, all their names in one place, in Prometheus' text format. Times are seconds, as Prometheus wants
//! them; everything of one worker, so that sums and rates over all of them mean something.

use std::fmt::Write as _;

use flagstop_engine::api::Phase;
use flagstop_store::port::Census;

use crate::vitals::Signs;

/// The media type of [`render`]'s text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters of [`crate::WorkerCounters`]: the field, the metric, what it says.
const DONE: [(&str, &str, &str); 12] = [
    ("messages", "flagstop_messages_total", "Messages taken from the bus."),
    ("duplicates", "flagstop_duplicates_total", "Messages that had already been applied."),
    ("unheard", "flagstop_unheard_events_total", "Events that no definition listens for."),
    ("parked", "flagstop_parked_events_total", "Events that were kept for a later waiter."),
    ("dead_letters", "flagstop_dead_letters_total", "Messages that were set aside."),
    ("transitions", "flagstop_transitions_total", "Committed transitions of instances."),
    ("batches", "flagstop_batches_total", "Committed batches."),
    ("conflicts", "flagstop_conflicts_total", "Groups that had to be decided again, because somebody else was faster."),
    ("published", "flagstop_published_total", "Messages that the broker confirmed."),
    (
        "invalid_events",
        "flagstop_invalid_status_events_total",
        "Status events that were withheld for breaking their own schema: each one a defect of Flagstop.",
    ),
    ("effects", "flagstop_effects_total", "Side effects that were carried out."),
    ("late_results", "flagstop_late_results_total", "Results of side effects that came too late to count."),
];

/// The text that Prometheus reads.
#[must_use]
pub fn render(signs: &Signs) -> String {
    let mut text = String::new();
    info(&mut text);
    let done = serde_json::to_value(signs.done).unwrap_or_default();
    for (field, name, help) in DONE {
        metric(&mut text, name, "counter", help, &done[field].as_u64().unwrap_or_default().to_string());
    }
    let store = &signs.store;
    for (name, help, value) in [
        ("flagstop_store_commits_total", "Commits sent to the store.", store.commits),
        ("flagstop_store_statements_total", "Statements sent to the store for batches.", store.statements),
        ("flagstop_store_round_trips_total", "Round trips to the store for batches.", store.round_trips),
    ] {
        metric(&mut text, name, "counter", help, &value.to_string());
    }
    metric(
        &mut text,
        "flagstop_acks_lost_total",
        "counter",
        "Messages whose acknowledgement the broker did not get, because the connection or partition was lost: they come again.",
        &signs.bus.acks_lost.to_string(),
    );
    let yes = |truth: bool| u8::from(truth).to_string();
    #[allow(clippy::cast_precision_loss, reason = "a lag of centuries may lose its microseconds")]
    let lag_s = signs.relay_lag_us as f64 / 1_000_000.0;
    for (name, help, value) in [
        (
            "flagstop_relay_lag_seconds",
            "How long the oldest event that this worker publishes has waited for the broker.",
            lag_s.to_string(),
        ),
        ("flagstop_relay_behind", "1 while events wait so long that no new messages are taken.", yes(signs.behind)),
        (
            "flagstop_relay_streams_waiting",
            "Instances whose events the broker does not take for now.",
            signs.streams_held.to_string(),
        ),
        (
            "flagstop_effects_in_flight",
            "Side effects under way.",
            signs.effects_here.saturating_sub(signs.effects_waiting).to_string(),
        ),
        ("flagstop_effects_waiting", "Side effects that wait for a place.", signs.effects_waiting.to_string()),
        ("flagstop_shards_held", "Shards whose relay and timers this worker holds.", signs.shards.to_string()),
        ("flagstop_catalogue_version", "The version of the catalogue of definitions.", signs.catalogue.to_string()),
        ("flagstop_catalogue_whole", "1 while every deployed definition compiles here.", yes(signs.catalogue_whole)),
        (
            "flagstop_store_up",
            "1 while the store answers, with a schema for this build.",
            yes(signs.store_fault.is_none()),
        ),
        ("flagstop_bus_up", "1 while the broker's connections are up.", yes(signs.bus_up)),
        ("flagstop_draining", "1 once the worker is told to stop.", yes(signs.draining)),
    ] {
        metric(&mut text, name, "gauge", help, &value);
    }
    if let Some(census) = &signs.census {
        counted(&mut text, census);
    }
    text
}

/// What is in the store: told by one worker, so that a sum over all of them is right.
fn counted(text: &mut String, census: &Census) {
    let phase = |number: i16| match Phase::try_from(number) {
        Ok(phase) => format!("{phase:?}").to_lowercase(),
        Err(_) => number.to_string(),
    };
    let instances = census.instances.iter().map(|(number, count)| (phase(*number), *count));
    labelled(text, "flagstop_instances", "Instances in the store, by status.", "status", instances);
    let letters = census.letters.iter().cloned();
    labelled(text, "flagstop_stored_dead_letters", "Dead letters in the store, by code.", "code", letters);
    #[allow(clippy::cast_precision_loss, reason = "an age of centuries may lose its microseconds")]
    let oldest_s = census.unpublished_since_us.map_or(0.0, |us| (census.now_us - us).max(0) as f64 / 1_000_000.0);
    for (name, help, value) in [
        ("flagstop_instances_set_aside", "Instances that were set aside for ending their workers.", census.aside),
        ("flagstop_stored_parked_events", "Early events that nobody has heard yet.", census.parked),
        ("flagstop_stored_mail", "Letters to instances that wait in their mailboxes.", census.mail),
        ("flagstop_stored_effects", "Side effects under way or waiting for a worker.", census.effects),
        ("flagstop_timers_due", "Timers that are due and have not fired.", census.timers_due),
        ("flagstop_streams_set_aside", "Instances whose events the broker refuses.", census.quarantined),
        ("flagstop_workers", "Workers that are alive.", census.workers),
    ] {
        metric(text, name, "gauge", help, &value.to_string());
    }
    let help = "How long the oldest event in the store has waited for the broker.";
    metric(text, "flagstop_oldest_unpublished_seconds", "gauge", help, &oldest_s.to_string());
}

/// One metric with a value for each label; left out when there is none.
fn labelled(text: &mut String, name: &str, help: &str, label: &str, values: impl Iterator<Item = (String, i64)>) {
    for (index, (value, count)) in values.enumerate() {
        if index == 0 {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        }
        // Phases and codes are our own words and need no escapes.
        let _ = writeln!(text, "{name}{{{label}=\"{value}\"}} {count}");
    }
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, value: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

fn info(text: &mut String) {
    let name = "flagstop_build_info";
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        text,
        "# HELP {name} Always 1; the label says which build runs.\n# TYPE {name} gauge\n{name}{{version=\"{version}\"}} 1\n"
    );
}

#[cfg(test)]
mod tests {
    use flagstop_bus::port::BusCounters;
    use flagstop_store::port::Counters;

    use super::*;
    use crate::counters::WorkerCounters;

    fn signs() -> Signs {
        Signs {
            done: WorkerCounters { messages: 3, late_results: 1, ..WorkerCounters::default() },
            store: Counters { commits: 2, statements: 6, round_trips: 5 },
            bus: BusCounters { acks_lost: 7 },
            store_fault: Some("gone".into()),
            bus_up: true,
            draining: false,
            catalogue_whole: true,
            catalogue: 4,
            behind: false,
            relay_lag_us: 1_500_000,
            streams_held: 2,
            held_up: None,
            effects_here: 5,
            effects_waiting: 2,
            shards: 64,
            census: None,
        }
    }

    #[test]
    fn every_counter_has_a_metric() {
        let counters = serde_json::to_value(WorkerCounters::default()).expect("plain data");
        let mut fields: Vec<&String> = counters.as_object().expect("an object").keys().collect();
        let mut known: Vec<String> = DONE.iter().map(|(field, ..)| (*field).to_owned()).collect();
        fields.sort();
        known.sort();
        assert_eq!(fields, known.iter().collect::<Vec<_>>());
    }

    #[test]
    fn every_metric_says_what_it_is_and_counters_end_in_total() {
        let text = render(&signs());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len() % 3, 0, "{text}");
        for three in lines.chunks(3) {
            let name = three[2].split([' ', '{']).next().unwrap_or_default();
            assert!(three[0].starts_with(&format!("# HELP {name} ")), "{three:?}");
            let kind = three[1].strip_prefix(&format!("# TYPE {name} ")).expect("a type");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{three:?}");
            assert!(three[2].rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok()), "{three:?}");
        }
        let census = Census {
            now_us: 5_000_000,
            instances: vec![(Phase::Waiting as i16, 7), (Phase::Completed as i16, 9)],
            letters: vec![("FS-X".into(), 2)],
            unpublished_since_us: Some(4_500_000),
            workers: 3,
            ..Census::default()
        };
        let counted = render(&Signs { census: Some(census), ..signs() });
        for line in [
            "flagstop_instances{status=\"waiting\"} 7",
            "flagstop_instances{status=\"completed\"} 9",
            "flagstop_stored_dead_letters{code=\"FS-X\"} 2",
            "flagstop_oldest_unpublished_seconds 0.5",
            "flagstop_workers 3",
        ] {
            assert!(counted.lines().any(|found| found == line), "`{line}` is missing in:\n{counted}");
        }
        assert_eq!(counted.matches("# TYPE flagstop_instances gauge").count(), 1);
        for line in [
            "flagstop_messages_total 3",
            "flagstop_acks_lost_total 7",
            "flagstop_late_results_total 1",
            "flagstop_relay_lag_seconds 1.5",
            "flagstop_effects_in_flight 3",
            "flagstop_effects_waiting 2",
            "flagstop_store_up 0",
            "flagstop_bus_up 1",
        ] {
            assert!(lines.contains(&line), "`{line}` is missing in:\n{text}");
        }
    }
}
