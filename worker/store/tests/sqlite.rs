//! SQLite's driver: the suite that all drivers pass, in a file and in memory, and what only this driver promises: one file
//! shared by several stores, crashes, paths, and messages that say how to mend.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId, message_key};
use flagstop_store::port::{Ahead, Batch, Group, InstanceWrite, LoadRequest, SchemaState, Store, StoreError, Verdict};
use flagstop_store::rows::WorkerId;
use flagstop_store::sqlite::SqliteStore;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::Connection as _;
use uuid::Uuid;

/// A file of its own for each case of the suite, made anew each time.
async fn in_file(case: &str) -> Arc<dyn Store> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sqlite suite");
    std::fs::create_dir_all(&folder).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(folder.join(format!("{case}.db{suffix}"))).ok();
    }
    Arc::new(migrated(&folder.join(format!("{case}.db"))).await)
}

async fn in_memory(_case: &str) -> Arc<dyn Store> {
    let store = SqliteStore::memory().await.unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

mod file {
    flagstop_store::conformance!(crate::in_file);
}

mod memory {
    flagstop_store::conformance!(crate::in_memory);
}

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("flagstop-sqlite-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("store.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn migrated(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(path).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A second way into the file, for what the port does not offer.
async fn raw(path: &Path, text: &'static str) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    connection
}

fn instance(number: u32) -> InstanceId {
    InstanceId::of_trigger("tests", &number.to_string(), "tests", "sqlite")
}

fn message(number: u32) -> Hash16 {
    message_key("tests", &number.to_string())
}

/// A group that folds messages into an instance; its events name them.
fn fold(target: InstanceId, revision: i32, messages: &[u32]) -> Group {
    let events: Vec<u8> = messages.iter().flat_map(|number| number.to_be_bytes()).collect();
    let write = InstanceWrite {
        revision,
        definition: 1,
        state: Bytes::from_static(b"state"),
        events: events.into(),
        ..Default::default()
    };
    let inbox = messages.iter().map(|number| message(*number)).collect();
    Group { instance: Some((target, write)), inbox, ..Group::default() }
}

fn batch(groups: Vec<Group>) -> Batch {
    Batch { worker: None, groups }
}

fn folded(events: &[u8]) -> Vec<u32> {
    events.chunks(4).map(|number| u32::from_be_bytes(number.try_into().unwrap())).collect()
}

const INSTANCES: u32 = 40;
const MESSAGES: u32 = 3_000;

/// Applies messages in batches until none is left: loads, folds those of one instance, and decides again what was refused.
async fn apply_all(store: &SqliteStore, mut left: Vec<u32>, batch_size: usize) {
    while !left.is_empty() {
        let mut taken = left.split_off(left.len().saturating_sub(batch_size));
        taken.sort_unstable();
        taken.dedup();
        let request = LoadRequest {
            messages: taken.iter().map(|number| message(*number)).collect(),
            instances: taken.iter().map(|number| instance(number % INSTANCES)).collect(),
            ..LoadRequest::default()
        };
        let loaded = store.load(&request).await.unwrap();
        let mut groups: BTreeMap<InstanceId, Vec<u32>> = BTreeMap::new();
        for number in taken.into_iter().filter(|number| !loaded.seen.contains(&message(*number))) {
            groups.entry(instance(number % INSTANCES)).or_default().push(number);
        }
        let revision = |id| loaded.instances.iter().find(|row| row.id == id).map_or(0, |row| row.revision);
        let batch = batch(groups.iter().map(|(id, numbers)| fold(*id, revision(*id), numbers)).collect());
        let verdicts = store.commit(&batch).await.unwrap();
        for (verdict, numbers) in verdicts.into_iter().zip(groups.into_values()) {
            match verdict {
                Verdict::Applied => {}
                Verdict::Conflict => left.extend(numbers),
                Verdict::Duplicate(seen) => {
                    left.extend(numbers.into_iter().filter(|number| !seen.contains(&message(*number))));
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_hammer_one_file_and_each_message_is_applied_exactly_once() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = Folder::new();
    let stores = [Arc::new(migrated(&folder.file()).await), Arc::new(migrated(&folder.file()).await)];

    // Each message twice, to any of six tasks, in any order.
    let mut lists = vec![Vec::new(); 6];
    for number in (0..MESSAGES).chain(0..MESSAGES) {
        let list = random.random_range(0..lists.len());
        lists[list].push(number);
    }
    let tasks = lists.into_iter().enumerate().map(|(place, mut list)| {
        list.shuffle(&mut random);
        let (store, batch_size) = (Arc::clone(&stores[place % 2]), random.random_range(1..32));
        tokio::spawn(async move { apply_all(&store, list, batch_size).await })
    });
    let tasks: Vec<_> = tasks.collect();

    // Meanwhile a relay of each store reads its shards' journal on, as workers do.
    let mut published = Vec::new();
    let relays = stores.iter().map(|store| (store, WorkerId(Uuid::new_v4()))).collect::<Vec<_>>();
    loop {
        let last_round = tasks.iter().all(tokio::task::JoinHandle::is_finished);
        let mut read = 0;
        for (store, worker) in &relays {
            store.beat(*worker, 60_000_000).await.unwrap();
            for page in store.read(*worker, 50, &Ahead::default()).await.unwrap() {
                read += page.rows.len();
                published.extend(page.rows);
                store.save(*worker, &[page.next]).await.unwrap();
            }
        }
        if last_round && read == 0 {
            break;
        }
    }
    for task in tasks {
        task.await.unwrap();
    }

    let mut applied: Vec<u32> = Vec::new();
    for number in 0..INSTANCES {
        let id = instance(number);
        let history = stores[0].history(id).await.unwrap();
        let revision = stores[0].instance(id).await.unwrap().unwrap().revision;
        let revisions: Vec<i32> = history.iter().map(|row| row.revision).collect();
        assert_eq!(revisions, (1..=revision).collect::<Vec<_>>(), "one journal row for each revision");
        assert!(history.is_sorted_by_key(|row| row.at_us), "time does not go back");
        let relayed: Vec<_> = published.iter().filter(|row| row.instance == id).cloned().collect();
        assert_eq!(relayed, history, "the relay saw each row once, in order");
        applied.extend(history.iter().flat_map(|row| folded(&row.events)));
    }
    applied.sort_unstable();
    assert_eq!(applied, (0..MESSAGES).collect::<Vec<_>>(), "each message exactly once");
}

/// Where the child of the next test finds its file.
const CHILD_FILE: &str = "FLAGSTOP_TEST_CHILD_FILE";

async fn commit_until_killed(file: &Path) {
    let store = migrated(file).await;
    for number in 0.. {
        store.commit(&batch(vec![fold(instance(number), 0, &[number])])).await.unwrap();
        println!("committed {number}");
    }
}

#[tokio::test]
async fn what_was_answered_before_a_kill_is_there_after_it() {
    // The child is this same test in a process of its own.
    if let Ok(file) = std::env::var(CHILD_FILE) {
        return commit_until_killed(Path::new(&file)).await;
    }
    let folder = Folder::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "what_was_answered_before_a_kill_is_there_after_it"])
        .env(CHILD_FILE, folder.file())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answered = BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some((_, number)) = line.split_once("committed ") {
            answered.insert(number.trim().parse::<u32>().unwrap());
        }
        if answered.len() == 100 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();

    let store = SqliteStore::open(&folder.file()).await.unwrap();
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    assert!(answered.len() >= 100);
    for number in answered {
        assert_eq!(store.history(instance(number)).await.unwrap().len(), 1, "message {number}");
        let again = store.commit(&batch(vec![fold(instance(number), 0, &[number])])).await.unwrap();
        assert_eq!(again, [Verdict::Duplicate(vec![message(number)])]);
    }
}

#[tokio::test]
async fn a_commit_that_is_given_up_half_way_happens_or_not_and_locks_nobody_out() {
    let folder = Folder::new();
    let (store, other) = (migrated(&folder.file()).await, migrated(&folder.file()).await);
    for number in 0..200 {
        let batch = batch(vec![fold(instance(number), 0, &[number])]);
        let mut commit = Box::pin(store.commit(&batch));
        for _ in 0..number % 7 {
            if std::future::poll_fn(|context| Poll::Ready(commit.as_mut().poll(context).is_ready())).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        let again = other.commit(&batch).await.unwrap();
        let there = other.history(instance(number)).await.unwrap();
        assert!(again == [Verdict::Applied] || again == [Verdict::Duplicate(vec![message(number)])]);
        assert_eq!(there.len(), 1, "however it was given up, doing it again settles it");
    }
}

#[tokio::test]
async fn only_the_group_whose_data_is_refused_fails_and_the_rest_of_the_batch_is_written() {
    let folder = Folder::new();
    let store = migrated(&folder.file()).await;
    raw(
        &folder.file(),
        "CREATE TRIGGER refuse BEFORE INSERT ON instances WHEN new.business_key = 'poison'
         BEGIN SELECT RAISE(ABORT, 'poison is refused'); END",
    )
    .await;
    let mut groups: Vec<Group> = (0..5).map(|number| fold(instance(number), 0, &[number])).collect();
    groups[2].instance.as_mut().unwrap().1.business_key = Some("poison".to_owned());
    // The same message as the one that fails: it must not pass for a duplicate of what was never written.
    groups.push(fold(instance(9), 0, &[2]));
    let verdicts = store.commit(&batch(groups)).await.unwrap();
    let Verdict::Failed(reason) = &verdicts[2] else { panic!("{verdicts:?}") };
    assert!(reason.contains("poison is refused"), "{reason}");
    for (place, verdict) in verdicts.iter().enumerate().filter(|(place, _)| *place != 2) {
        assert_eq!(*verdict, Verdict::Applied, "group {place}");
    }
    assert_eq!(store.instance(instance(2)).await.unwrap(), None);
    assert_eq!(store.history(instance(3)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn migrations_may_race_and_each_runs_once() {
    let folder = Folder::new();
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let file = folder.file();
        racing.spawn(async move { SqliteStore::open(&file).await.unwrap().migrate().await.unwrap() });
    }
    let mut ran: Vec<String> = racing.join_all().await.into_iter().flatten().collect();
    ran.sort();
    assert_eq!(ran, ["0001_first", "0002_language", "0003_worker", "0004_lists"]);
}

#[tokio::test]
async fn d16_a_schema_says_what_it_lacks_and_which_builds_it_allows() {
    let folder = Folder::new();
    let store = SqliteStore::open(&folder.file()).await.unwrap();
    let command = format!("flagstop migrate --store sqlite:{}", folder.file().display());
    let SchemaState::Behind(lacks) = store.schema().await.unwrap() else { panic!("nothing has migrated it") };
    assert!(lacks.contains("0001_first") && lacks.contains(&command), "{lacks}");
    let error = store.load(&LoadRequest::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema(text) if text.contains(&command)), "{error}");

    store.migrate().await.unwrap();
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    raw(&folder.file(), "UPDATE meta SET value = 1000 WHERE name = 'oldest_build'").await;
    let SchemaState::Ahead(text) = store.schema().await.unwrap() else { panic!("only newer builds are allowed") };
    assert!(text.contains("run the newer flagstop"), "{text}");
}

#[tokio::test]
async fn a_file_that_another_process_keeps_locked_is_reported_and_is_usable_afterwards() {
    let folder = Folder::new();
    let store = migrated(&folder.file()).await;
    let mut locker = raw(&folder.file(), "BEGIN IMMEDIATE").await;
    let batch = batch(vec![fold(instance(1), 0, &[1])]);
    let error = store.commit(&batch).await.unwrap_err();
    assert!(error.to_string().starts_with("FS-STORE-UNREACHABLE"), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    store.load(&LoadRequest::default()).await.expect("reading goes on");
    sqlx::raw_sql("ROLLBACK").execute(&mut locker).await.unwrap();
    assert_eq!(store.commit(&batch).await.unwrap(), [Verdict::Applied]);
}

#[tokio::test]
async fn any_path_that_names_a_file_is_taken_as_it_is() {
    let folder = Folder::new();
    for name in ["two words.db", "file:100%?mode=ro#x.db", ":memory:", "Übung.db"] {
        let path = folder.0.join(name);
        let store = migrated(&path).await;
        assert_eq!(store.commit(&batch(vec![fold(instance(1), 0, &[1])])).await.unwrap(), [Verdict::Applied]);
        store.close().await;
        assert!(path.is_file(), "{name}");
        let again = SqliteStore::open(&path).await.unwrap();
        assert_eq!(again.history(instance(1)).await.unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_a_store_says_how_to_mend_it() {
    let folder = Folder::new();
    let lost = folder.0.join("not made yet").join("store.db");
    let error = SqliteStore::open(&lost).await.unwrap_err().to_string();
    assert!(error.starts_with("FS-STORE-UNREACHABLE"), "{error}");
    assert!(error.contains("mkdir -p '") && error.contains("not made yet"), "{error}");

    let error = SqliteStore::open(&folder.0).await.unwrap_err().to_string();
    assert!(error.starts_with("FS-STORE-URL") && error.contains("directory"), "{error}");

    std::fs::write(folder.file(), "a letter to a friend, long enough to be no database\n".repeat(100)).unwrap();
    let error = SqliteStore::open(&folder.file()).await.unwrap_err().to_string();
    assert!(error.contains("file is not a database") && error.contains("flagstop migrate"), "{error}");
}

#[tokio::test]
async fn a_closed_store_says_so_and_the_file_is_whole() {
    let folder = Folder::new();
    let store = migrated(&folder.file()).await;
    store.commit(&batch(vec![fold(instance(1), 0, &[1])])).await.unwrap();
    store.close().await;
    let error = store.commit(&batch(vec![fold(instance(2), 0, &[2])])).await.unwrap_err();
    assert!(error.to_string().starts_with("FS-STORE-UNREACHABLE"), "{error}");
    assert!(!folder.0.join("store.db-wal").exists(), "the log was folded into the file");
}

#[tokio::test]
async fn databases_in_memory_are_private() {
    let (one, other) = (SqliteStore::memory().await.unwrap(), SqliteStore::memory().await.unwrap());
    one.migrate().await.unwrap();
    assert!(matches!(other.schema().await.unwrap(), SchemaState::Behind(_)));
    tokio::time::timeout(Duration::from_secs(60), one.schema()).await.unwrap().unwrap();
}
