//! A store that refuses what workers commit: what is to blame decides what becomes of the message, and nothing is acknowledged
//! that is not kept.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Secrets, Worker};
use flagstop_store::port::{Batch, LetterFilter, StoreError};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, go, start, started};
use flagstop_tests::services::{eventually, postgres};
use flagstop_tests::stepped::Stepped;
use serde_json::json;

async fn worker(scene: &Scene) -> (Worker, Arc<HandBus>, Arc<Stepped>) {
    let stepped = Stepped::new(flagstop_store::open(&postgres(), &scene.config).await.unwrap());
    let bus = Arc::new(HandBus::default());
    let worker = Worker::start(stepped.clone(), bus.clone(), Options::default(), Secrets::none()).await.unwrap();
    (worker, bus, stepped)
}

async fn codes(scene: &Scene) -> Vec<String> {
    let filter = LetterFilter { limit: 10, ..LetterFilter::default() };
    scene.store.list_dead_letters(&filter).await.unwrap().into_iter().map(|letter| letter.code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_waited_for() {
    let scene = Scene::new(&[WAITS]).await;
    let (worker, bus, stepped) = worker(&scene).await;
    let (denied, tries) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let (is_denied, tried) = (denied.clone(), tries.clone());
    stepped.refuse(move |_| {
        tried.fetch_add(1, Ordering::SeqCst);
        is_denied.load(Ordering::SeqCst).then(|| StoreError::Denied("permission denied for table journal".into()))
    });
    let positions = [bus.deliver_event(&start("s", 1)), bus.deliver_event(&event("x", "", &json!(1)))];
    eventually("several tries", async || tries.load(Ordering::SeqCst) > 6).await;
    assert!(positions.iter().all(|position| !bus.acked(*position)), "nothing is kept, so nothing is acknowledged");
    let fault = worker.vitals().read().await.store_fault;
    assert!(fault.is_some_and(|why| why.contains("permission denied")), "the worker is not ready, and says why");

    denied.store(false, Ordering::SeqCst);
    scene.becomes(started("s", "waits"), Phase::Waiting).await;
    for position in positions {
        eventually("both are acknowledged", async || bus.acked(position)).await;
    }
    assert_eq!(codes(&scene).await.len(), 1, "what is no event is a letter, and nothing else");
    assert_eq!(worker.vitals().read().await.store_fault, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_one_message_leads_to_becomes_a_letter_and_the_others_go_on() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus, stepped) = worker(&scene).await;
    let bad = started("bad", "waits");
    stepped.refuse(move |batch: &Batch| {
        let is_bad = |group: &flagstop_store::port::Group| group.instance.as_ref().is_some_and(|(id, _)| *id == bad);
        batch.groups.iter().any(is_bad).then(|| StoreError::Failed("an error that nobody has seen before".into()))
    });
    let positions = [start("first", 1), start("bad", 2), start("last", 3)].map(|event| bus.deliver_event(&event));
    for (position, name) in positions.iter().zip(["first", "bad", "last"]) {
        eventually(name, async || bus.acked(*position)).await;
    }
    assert_eq!(codes(&scene).await, ["FS-STORE-REFUSED"]);
    for (name, n) in [("first", 1), ("last", 3)] {
        bus.deliver_event(&go(&format!("go-{name}"), n));
        scene.becomes(started(name, "waits"), Phase::Completed).await;
    }
    assert_eq!(scene.phase(bad).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_can_not_be_stored_is_no_reason_to_forget_the_message() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus, stepped) = worker(&scene).await;
    let (broken, letters) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let (is_broken, seen) = (broken.clone(), letters.clone());
    stepped.refuse(move |batch: &Batch| {
        let is_letter = batch.groups.iter().any(|group| !group.dead.is_empty());
        seen.fetch_add(u32::from(is_letter), Ordering::SeqCst);
        is_broken.load(Ordering::SeqCst).then(|| StoreError::Failed("an error that nobody has seen before".into()))
    });
    let position = bus.deliver_event(&start("s", 1));
    eventually("its letter was tried", async || letters.load(Ordering::SeqCst) > 3).await;
    assert!(!bus.acked(position));
    broken.store(false, Ordering::SeqCst);
    eventually("it is kept, as what it is or as a letter", async || bus.acked(position)).await;
    let is_there = scene.phase(started("s", "waits")).await.is_some();
    assert!(is_there ^ (codes(&scene).await == ["FS-STORE-REFUSED"]), "either, and not both");
}
