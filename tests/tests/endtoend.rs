//! The main job at its size: ten thousand onboardings with copies, early messages and junk in a shuffled order, on each
//! broker with Postgres, by one worker and by three.
#![allow(missing_docs, reason = "tests")]

use flagstop_tests::crowd::Crowd;
use flagstop_tests::services::url;
use tokio::sync::Mutex;

const EMPLOYEES: usize = 10_000;

/// Each of the tests uses the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_onboardings_on_kafka_by_three_workers() {
    onboardings(&url("FLAGSTOP_TEST_KAFKA"), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_onboardings_on_rabbitmq_by_three_workers() {
    onboardings(&url("FLAGSTOP_TEST_RABBITMQ"), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_onboardings_on_kafka_by_one_worker() {
    onboardings(&url("FLAGSTOP_TEST_KAFKA"), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_onboardings_on_rabbitmq_by_one_worker() {
    onboardings(&url("FLAGSTOP_TEST_RABBITMQ"), 1).await;
}

async fn onboardings(bus_url: &str, workers: usize) {
    let _alone = ALONE.lock().await;
    let crowd = Crowd::new(bus_url, EMPLOYEES).await;
    let workers = (0..workers).map(|_| crowd.worker()).collect();
    crowd.send(0.0, 1.0).await;
    crowd.completed(EMPLOYEES).await;
    crowd.check(workers).await;
}
