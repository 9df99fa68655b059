//! What the whole language needs of a store: schedules with a memory (PROTOCOL D12, D17), large values that are written
//! once (D19), and what is kept for one instance alone.

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};

use super::fixtures::*;
use crate::port::{Group, LoadRequest, LookRequest, ScheduleWrite, Verdict};
use crate::rows::{KEPT_SLOT, LargeValue, NewParked, ScheduleMemory, ScheduleRow};

fn due(due_us: i64) -> ScheduleMemory {
    ScheduleMemory { definition: 3, due_us: Some(due_us), awaits: None, state: Bytes::from_static(b"state") }
}

fn schedule(name: &str, was: Option<i64>, becomes: i64, memory: Option<ScheduleMemory>) -> Group {
    let write = ScheduleWrite { id: hash(name), was, becomes, memory };
    Group { schedules: vec![write], ..Group::default() }
}

async fn memory(store: &Shared, name: &str) -> Option<ScheduleRow> {
    let request = LoadRequest { schedules: vec![hash(name)], ..LoadRequest::default() };
    store.load(&request).await.expect("the store answers a load").schedules.pop()
}

async fn due_now(store: &Shared) -> Vec<ScheduleRow> {
    let shards: Vec<i16> = (0..64).collect();
    store.due_schedules(&shards, 100).await.expect("the store gives due schedules")
}

/// Two workers see the same schedule due: one starts the instance and moves the schedule on, the other does neither.
pub async fn d12_a_schedule_fires_once_whoever_is_faster(store: Shared) {
    assert_eq!(commit_one(&store, schedule("hourly", None, 11, Some(due(5)))).await, Verdict::Applied);
    let again = commit_one(&store, schedule("hourly", None, 12, Some(due(6)))).await;
    assert_eq!(again, Verdict::Conflict, "it has a memory already");
    let row = memory(&store, "hourly").await.expect("it has a memory");
    assert_eq!((row.id, row.token, row.memory), (hash("hourly"), 11, due(5)));

    let fire = |becomes| Group {
        instance: Some(write("first run", 0)),
        ..schedule("hourly", Some(11), becomes, Some(due(i64::MAX / 2)))
    };
    assert_eq!(commit(&store, vec![fire(21), fire(22)]).await, [Verdict::Applied, Verdict::Conflict]);
    assert_eq!(commit_one(&store, fire(23)).await, Verdict::Conflict);
    assert_eq!(revision(&store, "first run").await, 1);
    assert_eq!(memory(&store, "hourly").await.expect("it has a memory").token, 21);
    assert!(due_now(&store).await.is_empty());
}

/// Who read the memory before it went must not write over the one that came after it.
pub async fn d12_a_memory_that_went_and_came_again_is_another(store: Shared) {
    apply(&store, vec![schedule("s", None, 1, Some(due(5)))]).await;
    apply(&store, vec![schedule("s", Some(1), 2, None)]).await;
    assert_eq!(memory(&store, "s").await, None);
    assert_eq!(commit_one(&store, schedule("s", Some(1), 3, Some(due(6)))).await, Verdict::Conflict);
    assert_eq!(memory(&store, "s").await, None, "a refused write left a memory");
    apply(&store, vec![schedule("s", None, 4, Some(due(7)))]).await;
    assert_eq!(commit_one(&store, schedule("s", Some(1), 5, None)).await, Verdict::Conflict);
    assert_eq!(memory(&store, "s").await.map(|row| row.memory), Some(due(7)));
}

/// By the store's clock, oldest first; one that awaits an instance is due when that has ended, whatever way.
pub async fn d12_schedules_are_due_by_their_time_or_by_an_end(store: Shared) {
    let awaiting = ScheduleMemory { due_us: None, awaits: Some(id("run")), ..due(0) };
    apply(&store, vec![schedule("after", None, 1, Some(awaiting.clone())), group("run", 0)]).await;
    let timed = [("second", 20), ("first", 10), ("never", i64::MAX / 2)];
    apply(&store, timed.iter().map(|(name, at)| schedule(name, None, 1, Some(due(*at)))).collect()).await;
    let ids = |rows: &[ScheduleRow]| rows.iter().map(|row| row.id).collect::<Vec<Hash16>>();
    let before = due_now(&store).await;
    assert_eq!(ids(&before), [hash("first"), hash("second")]);
    assert!(before.iter().all(|row| row.awaited_ended_us.is_none() && row.memory.state == "state"));

    apply(&store, vec![with(group("run", 1), |write| write.ended = true)]).await;
    let after = due_now(&store).await;
    assert_eq!(ids(&after), [hash("first"), hash("second"), hash("after")]);
    let ended_us = store.instance(id("run")).await.expect("the store answers").and_then(|row| row.ended_us);
    assert_eq!((after[2].awaited_ended_us, &after[2].memory), (ended_us, &awaiting));
    assert!(ended_us.is_some());
    let shards = [InstanceId(hash("second").0).shard(64)];
    let some = store.due_schedules(&shards, 100).await.expect("the store gives due schedules");
    assert!(some.contains(&after[1]) && some.len() < 4, "{some:?}");
    assert_eq!(store.due_schedules(&[], 100).await.expect("the store gives due schedules"), []);
}

/// D17: a set's memory, the message that changed it and the letter to the instance that it starts stand or fall together.
pub async fn d17_an_open_set_is_written_with_its_message_or_not_at_all(store: Shared) {
    let set = |was, becomes, message: &str, memory| Group {
        inbox: vec![hash(message)],
        post: vec![mail("started", message)],
        ..schedule("set", was, becomes, memory)
    };
    apply(&store, vec![set(None, 1, "m1", Some(due(9)))]).await;
    assert_eq!(commit_one(&store, set(None, 2, "m2", Some(due(9)))).await, Verdict::Conflict);
    assert_eq!(commit_one(&store, set(Some(7), 2, "m2", Some(due(9)))).await, Verdict::Conflict);
    assert!(!seen(&store, "m2").await);
    assert_eq!(commit_one(&store, set(Some(1), 2, "m1", None)).await, Verdict::Duplicate(vec![hash("m1")]));
    assert_eq!(load(&store, &["started"]).await.mail.len(), 1);
    assert_eq!(commit_one(&store, set(Some(1), 2, "m2", None)).await, Verdict::Applied);
    assert_eq!(memory(&store, "set").await, None);
    assert_eq!(load(&store, &["started"]).await.mail.len(), 2);
}

/// D19: it comes with every load of its instance until the instance no longer refers to it; nobody else sees it, and a
/// transition that does not name it leaves it as it is.
pub async fn d19_a_large_value_is_written_once_and_comes_with_its_instance(store: Shared) {
    let large = |name: &str| LargeValue { hash: hash(name), bytes: Bytes::from(format!("\0 {name} ").repeat(50_000)) };
    let first = with(group("a", 0), |write| write.values_in = vec![large("x"), large("y")]);
    let other = with(group("b", 0), |write| write.values_in = vec![large("x")]);
    apply(&store, vec![first, other]).await;
    apply(&store, vec![group("a", 1)]).await;
    let values = |name: &'static str| {
        let store = store.clone();
        async move {
            let mut values = instance(&store, name).await.expect("it is there").values;
            values.sort_by_key(|value| value.hash);
            let asked = store.large_values(id(name)).await.expect("the store gives large values");
            let mut sorted = asked.clone();
            sorted.sort_by_key(|value| value.hash);
            assert_eq!(values, sorted);
            values
        }
    };
    let mut both = vec![large("x"), large("y")];
    both.sort_by_key(|value| value.hash);
    assert_eq!(values("a").await, both);
    // Written again by a transition that did not know: the same hash is the same value.
    let moved = with(group("a", 2), |write| {
        write.values_in = vec![large("y"), large("z")];
        write.values_out = vec![hash("x")];
    });
    apply(&store, vec![moved]).await;
    let mut left = vec![large("y"), large("z")];
    left.sort_by_key(|value| value.hash);
    assert_eq!(values("a").await, left);
    assert_eq!(values("b").await, [large("x")], "another instance's");
    let refused = with(group("a", 1), |write| write.values_out = vec![hash("y"), hash("z")]);
    assert_eq!(commit_one(&store, refused).await, Verdict::Conflict);
    assert_eq!(values("a").await, left);
}

/// What is parked under an instance's own id is for it alone: the look of who parked it finds the instance, the look of
/// who made the instance finds what is parked, and the sweep finds both.
pub async fn d3_what_is_kept_for_an_instance_meets_it_in_both_orders(store: Shared) {
    let keep = |name: &str, of: &str| {
        let kept = NewParked { key: Hash16(id(of).0), ..parked(name, "any") };
        Group { inbox: vec![hash(name)], park: vec![kept], ..Group::default() }
    };
    let look = |of: &'static str| {
        let store = store.clone();
        async move {
            let request = LookRequest { kept: vec![id(of)], ..LookRequest::default() };
            let met = store.look(&request).await.expect("the store looks");
            met.into_iter().map(|meeting| (meeting.instance, meeting.slot, meeting.event)).collect::<Vec<_>>()
        }
    };
    let sweep = || {
        let store = store.clone();
        async move { store.sweep(None, 100).await.expect("the store sweeps").0.len() }
    };
    apply(&store, vec![keep("early", "a")]).await;
    assert_eq!((look("a").await, sweep().await), (vec![], 0), "nobody is there");
    apply(&store, vec![group("a", 0), group("b", 0)]).await;
    assert_eq!(look("a").await, [(id("a"), KEPT_SLOT, "event early".into())]);
    assert_eq!(sweep().await, 1);
    apply(&store, vec![keep("late", "a")]).await;
    let both = look("a").await;
    assert_eq!(both.iter().map(|(_, _, event)| event.clone()).collect::<Vec<_>>(), ["event early", "event late"]);
    assert_eq!(look("b").await, []);
    let taken = Group { claims: vec![hash("parked early")], ..group("a", 1) };
    assert_eq!(commit_one(&store, taken).await, Verdict::Applied);
    assert_eq!(look("a").await, [(id("a"), KEPT_SLOT, "event late".into())]);
}
