//! The main job under faults: three worker processes on a real broker and Postgres, one killed with −9 in the middle and
//! one stopped past its lease, with copies, early messages and junk in a shuffled order.
#![allow(missing_docs, reason = "tests")]

use std::time::{Duration, Instant};

use flagstop_tests::crowd::Crowd;
use flagstop_tests::services::url;
use tokio::sync::Mutex;

const EMPLOYEES: usize = 1_000;

/// Each of the tests uses the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_onboardings_on_rabbitmq_survive_a_killed_and_a_stopped_worker() {
    onboardings_survive(&url("FLAGSTOP_TEST_RABBITMQ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_onboardings_on_kafka_survive_a_killed_and_a_stopped_worker() {
    onboardings_survive(&url("FLAGSTOP_TEST_KAFKA")).await;
}

async fn onboardings_survive(bus_url: &str) {
    let _alone = ALONE.lock().await;
    let crowd = Crowd::new(bus_url, EMPLOYEES).await;
    let (killed, stopped, left) = (crowd.worker(), crowd.worker(), crowd.worker());
    crowd.send(0.0, 0.5).await;
    // Some are done and most are not.
    crowd.completed(EMPLOYEES / 20).await;
    killed.signal("KILL");
    stopped.signal("STOP");
    let since = Instant::now();
    crowd.send(0.5, 1.0).await;
    // The stopped one wakes past its lease of 5 s, in the middle of others driving what was its.
    let waker = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        stopped.signal("CONT");
        stopped
    });
    crowd.completed(EMPLOYEES).await;
    println!("all {EMPLOYEES} done {:?} after the kill", since.elapsed());
    let woken = waker.await.expect("the waker only sleeps and signals");
    crowd.check(vec![left, woken]).await;
}
