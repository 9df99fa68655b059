//! A database that was dumped and restored into another cluster, played by writing into the journal and the cursors what
//! they would hold then (PROTOCOL D14).

use std::sync::Arc;

use flagstop_schemas::InstanceId;
use flagstop_store::Store;
use flagstop_store::conformance::fixtures::*;
use flagstop_store::rows::JournalRow;

use crate::server::Schema;

/// The old cluster had counted further than this one will.
const OLD_IDS: &str = "
update journal set xid = (xid::text::bigint + 1000000000000)::text::xid8;
update relay_cursor set next_xid = (next_xid::text::bigint + 1000000000000)::text::xid8, pending = '{}'";

const INSTANCES: i32 = 20;

async fn hold(store: &Arc<dyn Store>) {
    assert_eq!(store.beat(worker(1), LONG_US).await.unwrap().shards.len(), 64);
}

async fn step(store: &Arc<dyn Store>, revision: i32) {
    apply(store, (0..INSTANCES).map(|n| group(&format!("i{n}"), revision)).collect()).await;
}

/// Three transitions of each instance are published, a fourth is not.
async fn published(case: &str) -> (Schema, Arc<dyn Store>) {
    let schema = Schema::new(case).await;
    let store = schema.migrated().await;
    hold(&store).await;
    for revision in 0..3 {
        step(&store, revision).await;
    }
    assert_eq!(drain(&store, worker(1), 1_000).await.len(), 60);
    step(&store, 3).await;
    (schema, store)
}

fn assert_revisions(rows: &[JournalRow], expected: &[i32]) {
    for n in 0..INSTANCES {
        let id: InstanceId = id(&format!("i{n}"));
        let got: Vec<_> = rows.iter().filter(|row| row.instance == id).map(|row| row.revision).collect();
        assert_eq!(got, expected, "of i{n}");
    }
}

/// What had not been published comes, then what was written since, each once and in order; what was published does not
/// come again; and the relay goes on.
async fn goes_on_after_a_restore(case: &str, cluster: i64) {
    let (schema, store) = published(case).await;
    schema.session().await.run(&format!("{OLD_IDS}, cluster = {cluster}")).await;
    let before: Vec<_> = read(&store, worker(1), 1_000).await.into_iter().map(|page| page.next).collect();
    assert!(!before.is_empty());
    // Somebody writes before any worker has given a sign of life.
    step(&store, 4).await;

    hold(&store).await;
    store.save(worker(1), &before).await.unwrap();
    assert_revisions(&drain(&store, worker(1), 7).await, &[4, 5]);
    step(&store, 5).await;
    assert_revisions(&drain(&store, worker(1), 7).await, &[6]);
    hold(&store).await;
    assert!(read(&store, worker(1), 7).await.is_empty(), "it is done once");
    assert_eq!(history(&store, "i0").await.len(), 6, "the history is as it was");
}

#[tokio::test]
async fn d14_the_relay_goes_on_in_another_cluster() {
    goes_on_after_a_restore("other cluster", 42).await;
}

/// Where the cluster may not be asked, a cursor beyond the newest transaction tells.
#[tokio::test]
async fn d14_the_relay_goes_on_in_another_cluster_that_does_not_tell_its_name() {
    goes_on_after_a_restore("nameless cluster", 0).await;
}

/// An upgrade in place makes another cluster that goes on with the old one's ids: nothing is doubled, nothing lost.
#[tokio::test]
async fn d14_a_cluster_that_kept_its_transaction_ids_is_only_noted() {
    let (schema, store) = published("upgraded cluster").await;
    let mut other = schema.session().await;
    other.run("update relay_cursor set cluster = 42").await;
    hold(&store).await;
    assert_revisions(&drain(&store, worker(1), 7).await, &[4]);
    assert!(other.ask("select from relay_cursor where cluster <> cluster_id() or cluster = 0").await.is_empty());
}

/// Several workers find out at once: one rewrites, and all hold their shards afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d14_racing_workers_move_in_once() {
    let (schema, store) = published("racing into a cluster").await;
    schema.session().await.run(&format!("{OLD_IDS}, cluster = 42, owner = null; delete from workers")).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=4 {
        let store = store.clone();
        tasks.spawn(async move { store.beat(worker(number), LONG_US).await.unwrap() });
    }
    tasks.join_all().await;
    for number in 2..=4 {
        store.leave(worker(number)).await.unwrap();
    }
    hold(&store).await;
    assert_revisions(&drain(&store, worker(1), 7).await, &[4]);
}
