//! What leaves a worker and what is only counted: narrowed status events, and events that nobody listens to.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use flagstop_bus::port::Channel;
use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, StatusOptions, Unheard};
use flagstop_schemas::{Entry, journal};
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, command, go, start, started};
use flagstop_tests::services::eventually;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_stream_keeps_its_numbers_and_the_history_keeps_all() {
    let scene = Scene::new(&[WAITS]).await;
    let status = StatusOptions { events: vec!["workflow.*".into()] };
    let (_worker, bus) = scene.worker(Options { status, ..Options::default() }).await;
    let id = started("s", "waits");
    bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Waiting).await;
    bus.deliver_event(&command("c", "suspend", id, &json!({})));
    scene.becomes(id, Phase::Suspended).await;
    bus.deliver_event(&command("d", "continue", id, &json!({})));
    bus.deliver_event(&go("g", 1));
    scene.becomes(id, Phase::Completed).await;
    let completed = "io.serverlessworkflow.workflow.completed.v1";
    let published = || bus.published(Channel::Status);
    eventually("the last event is out", async || published().iter().any(|event| event.ty == completed)).await;

    let mut all = Vec::new();
    for row in scene.store.history(id).await.unwrap() {
        let (header, entries) = journal::decode(&row.events).unwrap();
        all.extend(entries.into_iter().filter_map(|entry| match entry {
            Entry::Status(event) => Some(flagstop_schemas::render(&header, &event)),
            _ => None,
        }));
    }
    let sequences = all.iter().map(|event| event.extensions["sequence"].as_str().unwrap().to_owned());
    assert!(sequences.eq((1..=all.len()).map(|n| n.to_string())), "the history has no gaps");
    let expected: Vec<_> = all.into_iter().filter(|event| event.ty.contains(".workflow.")).collect();
    let left: Vec<_> = published().into_iter().filter(|event| event.ty.starts_with("io.serverlessworkflow.")).collect();
    assert_eq!(left, expected, "the same events, with the same numbers, in the same order");
    assert!(published().iter().any(|event| event.ty == "io.flagstop.command.accepted.v1"), "answers leave in any case");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_optional_events_leave_where_a_pattern_names_them() {
    let scene = Scene::new(&[WAITS]).await;
    let status = StatusOptions { events: vec!["workflow.status-changed".into()] };
    let (_worker, bus) = scene.worker(Options { status, ..Options::default() }).await;
    bus.deliver_event(&start("s", 1));
    scene.becomes(started("s", "waits"), Phase::Waiting).await;
    bus.deliver_event(&go("g", 1));
    let statuses = || -> Vec<String> {
        let data = |event: &flagstop_schemas::CloudEvent| match &event.data {
            flagstop_schemas::Data::Json(data) => serde_json::from_slice::<serde_json::Value>(data).unwrap(),
            other => panic!("no JSON: {other:?}"),
        };
        bus.published(Channel::Status).iter().map(|event| data(event)["status"].as_str().unwrap().to_owned()).collect()
    };
    eventually("all are out", async || statuses().len() == 3).await;
    assert_eq!(statuses(), ["running", "waiting", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_listens_to_is_counted_or_by_policy_a_dead_letter() {
    let scene = Scene::new(&[WAITS]).await;
    for (unheard, letters) in [(Unheard::Acknowledge, 0), (Unheard::DeadLetter, 2)] {
        let (worker, bus) = scene.worker(Options { unheard, ..Options::default() }).await;
        let round = letters.to_string();
        // Of a type that no definition names; and of one that is named, without what it is correlated by.
        let unknown = event(&format!("u{round}"), "t.unknown", &json!({}));
        let lacking = event(&format!("l{round}"), "t.go", &json!({ "other": 1 }));
        for message in [&unknown, &lacking] {
            let position = bus.deliver_event(message);
            eventually("it is acknowledged", async || bus.acked(position)).await;
        }
        assert_eq!(worker.counters().unheard, 2, "{unheard:?}");
        let found = scene.store.list_dead_letters(&Default::default()).await.unwrap();
        assert_eq!(found.len(), letters, "{found:?}");
        assert!(found.iter().all(|letter| letter.code == "FS-EVENT-UNHEARD"), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_events_that_wait_too_long_for_the_broker_hold_new_messages_back_until_they_are_out() {
    let scene = Scene::new(&[WAITS]).await;
    let options =
        Options { relay_lag_max_ms: 300, relay_refusals_max: u32::MAX, relay_retry_max_ms: 500, ..Options::default() };
    let (_worker, bus) = scene.worker(options).await;
    bus.refuse(|_| true);
    bus.deliver_event(&start("s1", 1));
    scene.becomes(started("s1", "waits"), Phase::Waiting).await;
    // What is committed passes the watermark; from then on nothing new is taken.
    let mut taken = Vec::new();
    for n in 2.. {
        assert!(n < 200, "the watermark holds nothing back");
        let (id, position) = (format!("s{n}"), bus.deliver_event(&start(&format!("s{n}"), n)));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if !bus.acked(position) {
            taken.push((id, position));
            break;
        }
    }
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let (id, position) = &taken[0];
    assert!(!bus.acked(*position) && scene.phase(started(id, "waits")).await.is_none(), "it waits outside");
    assert_eq!(bus.published(Channel::Status), []);
    bus.refuse(|_| false);
    scene.becomes(started(id, "waits"), Phase::Waiting).await;
    let all = scene.all().await.len();
    eventually("every instance's events are out", async || {
        let ty = "io.serverlessworkflow.workflow.started.v1";
        bus.published(Channel::Status).iter().filter(|event| event.ty == ty).count() == all
    })
    .await;
}
