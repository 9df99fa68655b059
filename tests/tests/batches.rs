//! Deliveries that hold several events: each counts by itself, and the delivery is acknowledged with the last of them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use flagstop_bus::port::RawMessage;
use flagstop_engine::api::Phase;
use flagstop_runtime::Options;
use flagstop_tests::scene::{Scene, WAITS, go, start, started};
use flagstop_tests::services::eventually;

fn batch(events: &[String]) -> RawMessage {
    RawMessage {
        content_type: Some("application/cloudevents-batch+json".into()),
        body: format!("[{}]", events.join(", ")).into(),
        ..RawMessage::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_batch_counts_once_and_a_bad_one_stands_alone() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options { batch_max: 2, ..Options::default() }).await;
    let mut events: Vec<String> = (1..=5).map(|n| start(&format!("s{n}"), n).to_json()).collect();
    events.insert(2, r#"{"id":"lost"}"#.to_owned());
    events.push(events[0].clone());
    let first = bus.deliver(batch(&events));
    for n in 1..=5 {
        scene.becomes(started(&format!("s{n}"), "waits"), Phase::Waiting).await;
    }
    eventually("the whole batch is acknowledged", async || bus.acked(first)).await;
    let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
    let letters: Vec<_> = letters.iter().map(|letter| (letter.code.as_str(), letter.body.as_ref())).collect();
    assert_eq!(letters, [("FS-EVENT-ATTRIBUTE", br#"{"id":"lost"}"#.as_slice())]);

    // The same again, as after a crash before the acknowledgement, with what the instances wait for behind it.
    events.extend((1..=5).map(|n| go(&format!("g{n}"), n).to_json()));
    let again = bus.deliver(batch(&events));
    for n in 1..=5 {
        scene.becomes(started(&format!("s{n}"), "waits"), Phase::Completed).await;
    }
    eventually("it is acknowledged", async || bus.acked(again)).await;
    assert_eq!(scene.all().await.len(), 5);

    let empty = bus.deliver(batch(&[]));
    eventually("it is acknowledged", async || bus.acked(empty)).await;
    let codes = scene.store.list_dead_letters(&Default::default()).await.unwrap();
    assert!(codes.iter().any(|letter| letter.code == "FS-EVENT-NOT-CLOUDEVENT"), "{codes:?}");
}
