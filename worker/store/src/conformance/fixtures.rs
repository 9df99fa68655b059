//! What the cases are made of: names, groups, and short forms of calls. Holds no rule itself.

use std::sync::Arc;

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};
use uuid::Uuid;

use crate::port::{Ahead, Aside, Batch, Group, InstanceWrite, LoadRequest, Loaded, Page, Store, Verdict};
use crate::rows::{
    BookmarkRow, DeadLetter, EffectLease, EffectRow, InstanceRow, JournalRow, NewMail, NewParked, WorkerId,
};

/// The store of a case.
pub type Shared = Arc<dyn Store>;

/// A lease that no test outlives.
pub const LONG_US: i64 = 3_600_000_000;

/// A lease that has ended as soon as it was given.
pub const ENDED_US: i64 = 0;

/// A key or a message, by name.
#[must_use]
pub fn hash(name: &str) -> Hash16 {
    Hash16::of("conformance", &[name.as_bytes()])
}

/// An instance, by name.
#[must_use]
pub fn id(name: &str) -> InstanceId {
    InstanceId::of_trigger("conformance", name, "tests", "suite")
}

/// A worker, by number.
#[must_use]
pub fn worker(number: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(number))
}

/// A transition from `revision`, whose state and events tell where they come from.
#[must_use]
pub fn write(name: &str, revision: i32) -> (InstanceId, InstanceWrite) {
    let write = InstanceWrite {
        revision,
        definition: 1,
        status: 1,
        state: Bytes::from(format!("state of {name} at {}", revision + 1)),
        events: Bytes::from(format!("events of {name} at {}", revision + 1)),
        ..InstanceWrite::default()
    };
    (id(name), write)
}

/// A group that only moves one instance on from `revision`.
#[must_use]
pub fn group(name: &str, revision: i32) -> Group {
    Group { instance: Some(write(name, revision)), ..Group::default() }
}

/// A group that moves one instance on from `revision` because of these messages.
#[must_use]
pub fn hearing(name: &str, revision: i32, messages: &[&str]) -> Group {
    Group { inbox: messages.iter().map(|message| hash(message)).collect(), ..group(name, revision) }
}

/// Changes a group's transition.
#[must_use]
pub fn with(mut group: Group, change: impl FnOnce(&mut InstanceWrite)) -> Group {
    let (_, write) = group.instance.as_mut().expect("the group writes an instance");
    change(write);
    group
}

/// A wait for whatever has this key, however old.
#[must_use]
pub fn bookmark(key: &str, slot: i64) -> BookmarkRow {
    BookmarkRow { key: hash(key), slot, since_us: None }
}

/// A side effect.
#[must_use]
pub fn effect(slot: i64) -> EffectRow {
    EffectRow { slot, pointer: format!("/do/{slot}/call") }
}

/// The right to drive an effect.
#[must_use]
pub fn lease(name: &str, slot: i64, epoch: i32) -> EffectLease {
    EffectLease { instance: id(name), slot, epoch }
}

/// An early event that does not expire while the case runs.
#[must_use]
pub fn parked(name: &str, key: &str) -> NewParked {
    NewParked {
        id: hash(&format!("parked {name}")),
        key: hash(key),
        message: hash(name),
        matched: false,
        event_type: "com.example.early".to_owned(),
        expires_us: i64::MAX,
        event: Bytes::from(format!("event {name}")),
    }
}

/// A group that keeps an early event.
#[must_use]
pub fn parking(name: &str, key: &str) -> Group {
    Group { inbox: vec![hash(name)], park: vec![parked(name, key)], ..Group::default() }
}

/// Mail to an instance.
#[must_use]
pub fn mail(to: &str, says: &str) -> NewMail {
    NewMail { instance: id(to), definition: 1, stimulus: Bytes::copy_from_slice(says.as_bytes()) }
}

/// A dead letter.
#[must_use]
pub fn letter(name: &str) -> DeadLetter {
    DeadLetter {
        id: hash(&format!("letter {name}")),
        code: "FS-TEST".to_owned(),
        reason: format!("{name} can't be carried out"),
        origin: "queue flagstop.work".to_owned(),
        content_type: Some("application/json".to_owned()),
        headers: Bytes::from_static(b"[]"),
        body: Bytes::from(format!("body of {name}")),
        at_us: 0,
        redriven_us: None,
    }
}

/// Commits groups for a worker.
pub async fn commit_as(store: &Shared, worker: Option<WorkerId>, groups: Vec<Group>) -> Vec<Verdict> {
    let expected = groups.len();
    let verdicts = store.commit(&Batch { worker, groups }).await.expect("the store answers a commit");
    assert_eq!(verdicts.len(), expected, "one verdict for each group");
    verdicts
}

/// Commits groups for nobody in particular.
pub async fn commit(store: &Shared, groups: Vec<Group>) -> Vec<Verdict> {
    commit_as(store, None, groups).await
}

/// Commits one group.
pub async fn commit_one(store: &Shared, group: Group) -> Verdict {
    commit(store, vec![group]).await.remove(0)
}

/// Commits groups that must all apply.
pub async fn apply(store: &Shared, groups: Vec<Group>) {
    for (ord, verdict) in commit(store, groups).await.iter().enumerate() {
        assert_eq!(*verdict, Verdict::Applied, "group {ord}");
    }
}

/// A group that sets an instance aside, or releases it.
#[must_use]
pub fn aside(name: &str, reason: Option<&str>) -> Group {
    Group { aside: Some(Aside { instance: id(name), reason: reason.map(str::to_owned) }), ..Group::default() }
}

/// Loads instances by name.
pub async fn load(store: &Shared, names: &[&str]) -> Loaded {
    let instances = names.iter().map(|name| id(name)).collect();
    store.load(&LoadRequest { instances, ..LoadRequest::default() }).await.expect("the store answers a load")
}

/// Who waits for these keys?
pub async fn load_keys(store: &Shared, keys: &[&str]) -> Loaded {
    let keys = keys.iter().map(|key| hash(key)).collect();
    store.load(&LoadRequest { keys, ..LoadRequest::default() }).await.expect("the store answers a load")
}

/// One instance, if it exists.
pub async fn instance(store: &Shared, name: &str) -> Option<InstanceRow> {
    load(store, &[name]).await.instances.into_iter().next()
}

/// An instance's revision; 0 if it does not exist.
pub async fn revision(store: &Shared, name: &str) -> i32 {
    instance(store, name).await.map_or(0, |row| row.revision)
}

/// Is a message in the inbox?
pub async fn seen(store: &Shared, message: &str) -> bool {
    let request = LoadRequest { messages: vec![hash(message)], ..LoadRequest::default() };
    store.load(&request).await.expect("the store answers a load").seen == [hash(message)]
}

/// An instance's journal.
pub async fn history(store: &Shared, name: &str) -> Vec<JournalRow> {
    store.history(id(name)).await.expect("the store gives a history")
}

/// Reads the next page of every shard that the worker holds.
pub async fn read(store: &Shared, worker: WorkerId, limit: i64) -> Vec<Page> {
    store.read(worker, limit, &Ahead::default()).await.expect("the store gives the journal's pages")
}

/// Reads to the journal's end and saves each page, as the relay does.
pub async fn drain(store: &Shared, worker: WorkerId, limit: i64) -> Vec<JournalRow> {
    let mut all = Vec::new();
    loop {
        let pages = read(store, worker, limit).await;
        if pages.is_empty() {
            return all;
        }
        let cursors: Vec<_> = pages.iter().map(|page| page.next.clone()).collect();
        all.extend(pages.into_iter().flat_map(|page| page.rows));
        store.save(worker, &cursors).await.expect("the store saves cursors");
    }
}
