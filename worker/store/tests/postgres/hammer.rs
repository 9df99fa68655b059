//! Many tasks at full speed on the same rows: what no chosen interleaving would have thought of. Each run prints its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::Store;
use flagstop_store::conformance::fixtures::*;
use flagstop_store::port::{Batch, Group, LoadRequest, LookRequest, Verdict};
use flagstop_store::rows::Meeting;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::server::Schema;

const TASKS: usize = 8;

/// Deliveries that the tasks take from, as from a broker.
#[derive(Clone)]
struct Queue<T>(Arc<Mutex<Vec<T>>>);

impl<T> Queue<T> {
    fn shuffled(mut all: Vec<T>, random: &mut StdRng) -> Self {
        all.shuffle(random);
        Self(Arc::new(Mutex::new(all)))
    }

    fn take(&self, count: usize) -> Vec<T> {
        let mut left = self.0.lock().unwrap();
        let from = left.len().saturating_sub(count);
        left.split_off(from)
    }
}

fn seeds(what: &str) -> (u64, StdRng) {
    let seed: u64 = rand::rng().random();
    println!("{what}: seed {seed}");
    (seed, StdRng::seed_from_u64(seed))
}

async fn in_tasks<F: Future<Output = ()> + Send + 'static>(mut make: impl FnMut(usize) -> F) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..TASKS {
        tasks.spawn(make(number));
    }
    tasks.join_all().await;
}

const MESSAGES: u32 = 6_000;
const INSTANCES: u32 = 150;

/// The instance's state is the sorted list of the messages that it heard.
fn heard(state: &[u8]) -> BTreeSet<u32> {
    state.chunks_exact(4).map(|chunk| u32::from_be_bytes(chunk.try_into().unwrap())).collect()
}

fn message(number: u32) -> Hash16 {
    hash(&format!("message {number}"))
}

fn target(number: u32) -> String {
    format!("target {}", number % INSTANCES)
}

/// One batch, decided again until all of it is done, as a worker does.
async fn work_off(store: &Arc<dyn Store>, mut open: BTreeSet<u32>) {
    while !open.is_empty() {
        let numbers: Vec<u32> = open.iter().copied().collect();
        let names: BTreeSet<String> = numbers.iter().map(|number| target(*number)).collect();
        let loaded = store
            .load(&LoadRequest {
                messages: numbers.iter().map(|number| message(*number)).collect(),
                keys: Vec::new(),
                instances: names.iter().map(|name| id(name)).collect(),
                ..LoadRequest::default()
            })
            .await
            .unwrap();
        let seen: BTreeSet<Hash16> = loaded.seen.into_iter().collect();
        open.retain(|number| !seen.contains(&message(*number)));
        let rows: BTreeMap<InstanceId, _> = loaded.instances.into_iter().map(|row| (row.id, row)).collect();
        let mut folded: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for number in &open {
            folded.entry(target(*number)).or_default().push(*number);
        }
        let groups: Vec<Group> = folded
            .iter()
            .map(|(name, numbers)| {
                let row = rows.get(&id(name));
                let mut all = row.map(|row| heard(&row.state)).unwrap_or_default();
                for number in numbers {
                    assert!(all.insert(*number), "message {number} was heard without its inbox row");
                }
                let state: Bytes = all.iter().flat_map(|number| number.to_be_bytes()).collect();
                let write = with(group(name, row.map_or(0, |row| row.revision)), |write| write.state = state);
                Group { inbox: numbers.iter().map(|number| message(*number)).collect(), ..write }
            })
            .collect();
        let verdicts = store.commit(&Batch { worker: None, groups }).await.unwrap();
        for (verdict, numbers) in verdicts.iter().zip(folded.values()) {
            match verdict {
                Verdict::Applied => open.retain(|number| !numbers.contains(number)),
                Verdict::Duplicate(_) | Verdict::Conflict => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Promise 1: thousands of messages, each delivered twice to eight workers that fold them: each is applied exactly once,
/// and each transition has its one journal row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_sent_twice_is_applied_once() {
    let (seed, mut random) = seeds("duplicates");
    let store = Schema::new("hammer duplicates").await.migrated().await;
    let queue = Queue::shuffled((0..MESSAGES).chain(0..MESSAGES).collect(), &mut random);
    in_tasks(|number| {
        let (store, queue) = (store.clone(), queue.clone());
        let mut random = StdRng::seed_from_u64(seed ^ number as u64);
        async move {
            loop {
                let batch = queue.take(random.random_range(1..80));
                if batch.is_empty() {
                    return;
                }
                work_off(&store, batch.into_iter().collect()).await;
            }
        }
    })
    .await;

    let mut applied = 0;
    for number in 0..INSTANCES {
        let name = target(number);
        let row = instance(&store, &name).await.unwrap();
        let expected: BTreeSet<u32> = (0..MESSAGES).filter(|message| message % INSTANCES == number).collect();
        assert_eq!(heard(&row.state), expected, "seed {seed}: {name}");
        let revisions: Vec<_> = history(&store, &name).await.iter().map(|row| row.revision).collect();
        assert_eq!(revisions, (1..=row.revision).collect::<Vec<_>>(), "seed {seed}: one journal row per revision");
        applied += expected.len();
    }
    assert_eq!(applied, MESSAGES as usize);
}

const WAITS: usize = 3_000;

fn name_of(wait: usize) -> String {
    format!("wait {wait}")
}

/// One side of many races at once; `true`: the event's.
#[derive(Clone, Copy)]
struct Race {
    wait: usize,
    event: bool,
}

/// Delivers an event to its waiter, because of a found bookmark (`inbox`) or of a parked row (`claims`).
fn delivery(wait: usize, revision: i32, inbox: Vec<Hash16>, claims: Vec<Hash16>) -> Group {
    let name = name_of(wait);
    let heard = with(group(&name, revision), |write| write.bookmarks.drop = vec![bookmark(&name, 1)]);
    Group { inbox, claims, ..heard }
}

/// A batch of both sides of different races, as a worker takes them: load, commit, look, claim.
async fn race(store: &Arc<dyn Store>, races: &[Race]) {
    let keys = races.iter().filter(|race| race.event).map(|race| hash(&name_of(race.wait))).collect();
    let loaded = store.load(&LoadRequest { keys, ..LoadRequest::default() }).await.unwrap();
    let waiting: BTreeMap<InstanceId, i32> = loaded.instances.iter().map(|row| (row.id, row.revision)).collect();
    let mut look = LookRequest::default();
    let groups = races
        .iter()
        .map(|race| {
            let name = name_of(race.wait);
            match (race.event, waiting.get(&id(&name))) {
                (true, Some(revision)) => {
                    delivery(race.wait, *revision, vec![hash(&format!("event of {name}"))], vec![])
                }
                (true, None) => {
                    look.parked.push(hash(&name));
                    Group { inbox: vec![hash(&format!("event of {name}"))], ..parking(&name, &name) }
                }
                (false, _) => {
                    look.bookmarks.push(hash(&name));
                    with(group(&name, 0), |write| write.bookmarks.add = vec![bookmark(&name, 1)])
                }
            }
        })
        .collect();
    let verdicts = store.commit(&Batch { worker: None, groups }).await.unwrap();
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Applied), "each race's sides have one writer each");
    claim(store, store.look(&look).await.unwrap()).await;
}

/// Claims what was met; whoever is second gets nothing.
async fn claim(store: &Arc<dyn Store>, meetings: Vec<Meeting>) {
    let waits: BTreeMap<InstanceId, usize> = (0..WAITS).map(|wait| (id(&name_of(wait)), wait)).collect();
    let groups = meetings
        .iter()
        .map(|meeting| delivery(waits[&meeting.instance], 1, Vec::new(), vec![meeting.parked]))
        .collect();
    for verdict in store.commit(&Batch { worker: None, groups }).await.unwrap() {
        assert!(matches!(verdict, Verdict::Applied | Verdict::Gone | Verdict::Conflict), "{verdict:?}");
    }
}

/// D3 at full speed: thousands of events and waits that race each other on eight tasks; none is lost, none comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_thousands_of_events_and_waits_meet_exactly_once() {
    let (seed, mut random) = seeds("wake-ups");
    let store = Schema::new("hammer wake-ups").await.migrated().await;
    // Neighbours in the queue are taken by different tasks at about the same time: that is where the race is.
    let mut order: Vec<usize> = (0..WAITS).collect();
    order.shuffle(&mut random);
    let mut all: Vec<Race> =
        order.iter().flat_map(|wait| [true, false].map(|event| Race { wait: *wait, event })).collect();
    for _ in 0..all.len() {
        let at = random.random_range(0..all.len() - 20);
        all.swap(at, at + random.random_range(1..20));
    }
    let queue = Queue(Arc::new(Mutex::new(all)));
    in_tasks(|number| {
        let (store, queue) = (store.clone(), queue.clone());
        let mut random = StdRng::seed_from_u64(seed ^ number as u64);
        async move {
            loop {
                let mut batch = queue.take(random.random_range(1..10));
                if batch.is_empty() {
                    return;
                }
                // Both sides of one race in one batch are matched by the worker itself: not this test's matter.
                while !batch.is_empty() {
                    let mut waits = BTreeSet::new();
                    let (now, later): (Vec<Race>, Vec<Race>) =
                        std::mem::take(&mut batch).into_iter().partition(|race| waits.insert(race.wait));
                    race(&store, &now).await;
                    batch = later;
                }
            }
        }
    })
    .await;

    assert!(store.sweep(None, 100_000).await.unwrap().0.is_empty(), "seed {seed}: lost wake-ups");
    assert!(store.parked_of_type("com.example.early", 0).await.unwrap().is_empty(), "seed {seed}: events left over");
    for wait in 0..WAITS {
        let name = name_of(wait);
        assert_eq!(history(&store, &name).await.len(), 2, "seed {seed}: {name} heard its event once");
    }
}

/// Batches that post, park, bury, start and adopt on the same keys in opposite orders: deadlocks are settled within, and
/// what is unique is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_in_opposite_orders_settle_among_themselves() {
    let (seed, _) = seeds("orders");
    let store = Schema::new("hammer orders").await.migrated().await;
    let rounds = 40;
    in_tasks(|number| {
        let store = store.clone();
        let mut random = StdRng::seed_from_u64(seed ^ number as u64);
        async move {
            for round in 0..rounds {
                let mut groups: Vec<Group> = (0..25)
                    .map(|n| {
                        let name = format!("{round}.{n}");
                        Group {
                            park: vec![parked(&name, &name), parked(&format!("x{name}"), &name)],
                            dead: vec![letter(&name)],
                            ..hearing(&name, 0, &[&name, &format!("second {name}")])
                        }
                    })
                    .collect();
                groups.shuffle(&mut random);
                for verdict in commit(&store, groups).await {
                    assert!(
                        matches!(verdict, Verdict::Applied | Verdict::Duplicate(_) | Verdict::Conflict),
                        "seed {seed}: {verdict:?}"
                    );
                }
            }
        }
    })
    .await;
    assert_eq!(store.list_dead_letters(&Default::default()).await.unwrap().len(), rounds * 25);
    store.beat(worker(1), LONG_US).await.unwrap();
    let rows = drain(&store, worker(1), 100).await;
    assert_eq!(rows.iter().filter(|row| row.revision == 0).count(), rounds * 25, "seed {seed}: letters");
    assert_eq!(rows.iter().filter(|row| row.revision == 1).count(), rounds * 25, "seed {seed}: starts");
    assert_eq!(rows.len(), rounds * 50, "seed {seed}");
}
