//! The relay's cursor among transactions that overlap (PROTOCOL D14).

use std::collections::BTreeMap;
use std::sync::Arc;

use flagstop_schemas::InstanceId;
use flagstop_store::Store;
use flagstop_store::conformance::fixtures::*;
use flagstop_store::port::{Batch, Verdict};
use flagstop_store::rows::JournalRow;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::server::{Schema, Session};

async fn prepared(case: &str) -> (Schema, Arc<dyn Store>) {
    let schema = Schema::new(case).await;
    let store = schema.migrated().await;
    assert_eq!(store.beat(worker(1), LONG_US).await.unwrap().shards.len(), 64);
    (schema, store)
}

fn revisions(rows: &[JournalRow], name: &str) -> Vec<i32> {
    rows.iter().filter(|row| row.instance == id(name)).map(|row| row.revision).collect()
}

/// A batch got its transaction's id, then waited; meanwhile later transactions committed and were published. When it
/// commits at last, its rows come, too.
#[tokio::test]
async fn d14_a_transaction_that_commits_late_is_not_skipped() {
    let (schema, store) = prepared("d14 late").await;
    // The first of the two by id is locked, and gives the transaction its id, before it waits for the second.
    let mut names = ["x", "y"];
    names.sort_by_key(|name| id(name));
    apply(&store, names.iter().map(|name| group(name, 0)).collect()).await;
    assert_eq!(drain(&store, worker(1), 100).await.len(), 2);

    let mut other = schema.session().await;
    other.run("begin").await;
    other.run(&format!("select from instances where id = '{}' for update", id(names[1]))).await;
    let batch = Batch { worker: None, groups: names.iter().map(|name| group(name, 1)).collect() };
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.commit(&batch).await }
    });
    other.until_it_blocks().await;
    for revision in 0..3 {
        apply(&store, (0..9).map(|n| group(&format!("i{n}"), revision)).collect()).await;
        let rows = drain(&store, worker(1), 2).await;
        assert_eq!(rows.len(), 9, "who waits holds nobody else's rows up");
    }
    other.run("rollback").await;
    assert_eq!(late.await.unwrap().unwrap(), [Verdict::Applied, Verdict::Applied]);
    let rows = drain(&store, worker(1), 100).await;
    assert_eq!((rows.len(), revisions(&rows, "x"), revisions(&rows, "y")), (2, vec![2], vec![2]));
    assert!(drain(&store, worker(1), 100).await.is_empty());
}

/// A person's forgotten transaction, with a transaction id of its own, stands open for ever.
#[tokio::test]
async fn d14_an_idle_open_transaction_does_not_stop_the_relay() {
    let (schema, store) = prepared("d14 idle").await;
    let mut other = schema.session().await;
    other
        .run("begin; select pg_current_xact_id(); insert into inbox values (gen_random_uuid(), day_of(now_us()))")
        .await;
    for revision in 0..5 {
        apply(&store, vec![group("a", revision), group("b", revision)]).await;
        let rows = drain(&store, worker(1), 1).await;
        assert_eq!((revisions(&rows, "a"), revisions(&rows, "b")), (vec![revision + 1], vec![revision + 1]));
    }
    other.run("commit").await;
    assert!(drain(&store, worker(1), 1).await.is_empty());
}

/// A writer whose transactions stay open over several steps of the others.
struct Writer {
    session: Session,
    instance: InstanceId,
    committed: i32,
    open: i32,
}

impl Writer {
    async fn step(&mut self, random: &mut StdRng) {
        if self.open > 0 && random.random_bool(0.5) {
            if random.random_bool(0.2) {
                self.session.run("rollback").await;
            } else {
                self.session.run("commit").await;
                self.committed += self.open;
            }
            self.open = 0;
        } else {
            if self.open == 0 {
                self.session.run("begin").await;
            }
            for _ in 0..random.random_range(1..4) {
                self.open += 1;
                let revision = self.committed + self.open;
                // One shard for all, so that they overlap in it.
                self.session
                    .run(&format!(
                        "insert into journal (at_us, instance, revision, definition, shard, events)
                         values (1, '{}', {revision}, 1, 5, '')",
                        self.instance
                    ))
                    .await;
            }
        }
    }
}

/// Eight writers with long, aborted and overlapping transactions, a relay with pages of any size that crashes before it
/// saves: in what was confirmed each row is there once and in its instance's order.
#[tokio::test]
async fn d14_nothing_is_lost_doubled_or_out_of_order_among_random_overlaps() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (schema, store) = prepared("d14 random").await;
    let mut writers = Vec::new();
    for n in 0..8 {
        let session = schema.session().await;
        writers.push(Writer { session, instance: id(&format!("w{n}")), committed: 0, open: 0 });
    }
    let mut confirmed: BTreeMap<InstanceId, i32> = BTreeMap::new();
    for step in 0..1_500 {
        let at = random.random_range(0..writers.len());
        writers[at].step(&mut random).await;
        if step % 2 == 0 {
            relay_once(&store, &mut random, &mut confirmed).await;
        }
    }
    for writer in &mut writers {
        if writer.open > 0 {
            writer.session.run("commit").await;
            writer.committed += writer.open;
        }
    }
    while relay_once(&store, &mut random, &mut confirmed).await {}
    for writer in &writers {
        let last = confirmed.get(&writer.instance).copied().unwrap_or(0);
        assert_eq!(last, writer.committed, "seed {seed}: rows of {} are missing", writer.instance);
    }
}

/// Whether there was anything.
async fn relay_once(store: &Arc<dyn Store>, random: &mut StdRng, confirmed: &mut BTreeMap<InstanceId, i32>) -> bool {
    let pages = read(store, worker(1), random.random_range(1..12)).await;
    for page in &pages {
        assert!(!page.rows.is_empty());
        if random.random_bool(0.2) {
            continue; // A crash: it will be read again.
        }
        for row in &page.rows {
            let last = confirmed.entry(row.instance).or_insert(0);
            assert_eq!(row.revision, *last + 1, "of {}: skipped, doubled or out of order", row.instance);
            *last = row.revision;
        }
        store.save(worker(1), std::slice::from_ref(&page.next)).await.unwrap();
    }
    !pages.is_empty()
}
