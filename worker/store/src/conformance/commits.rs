//! What a batch does and does not write (PROTOCOL D2, D10, D11, D12, D15).

use super::fixtures::*;
use crate::port::{Group, LoadRequest, Verdict};
use crate::rows::{Parent, TimerRow};

/// A new instance, its journal row and its inbox row are there after the commit, and `load` finds all of them.
pub async fn a_start_is_written_whole_and_found_again(store: Shared) {
    assert_eq!(commit_one(&store, hearing("a", 0, &["trigger"])).await, Verdict::Applied);
    let request = LoadRequest {
        messages: vec![hash("trigger"), hash("another")],
        instances: vec![id("a"), id("absent")],
        ..LoadRequest::default()
    };
    let loaded = store.load(&request).await.expect("the store answers a load");
    assert_eq!(loaded.seen, [hash("trigger")]);
    assert_eq!(loaded.instances.len(), 1, "an absent instance is missing from the answer");
    let row = &loaded.instances[0];
    assert_eq!((row.id, row.definition, row.revision), (id("a"), 1, 1));
    assert_eq!(row.state, "state of a at 1");
    let journal = history(&store, "a").await;
    assert_eq!(journal.len(), 1);
    assert_eq!((journal[0].revision, journal[0].definition), (1, 1));
    assert_eq!(journal[0].events, "events of a at 1");
}

/// Bookmarks and timers follow the differences that a transition brings; another instance's are left alone.
pub async fn a_transition_moves_every_projection(store: Shared) {
    let waiting = |name: &str| {
        with(group(name, 0), |write| {
            write.bookmarks.add = vec![bookmark("first", 1), bookmark("second", 2)];
            write.timers.add = vec![TimerRow { due_us: 10, slot: 1 }, TimerRow { due_us: 20, slot: 2 }];
        })
    };
    apply(&store, vec![waiting("a"), waiting("b")]).await;
    let on = with(group("a", 1), |write| {
        write.bookmarks.drop = vec![bookmark("first", 1)];
        write.bookmarks.add = vec![bookmark("third", 3)];
        write.timers.drop = vec![TimerRow { due_us: 10, slot: 1 }];
        write.timers.add = vec![TimerRow { due_us: 30, slot: 3 }];
    });
    apply(&store, vec![on]).await;

    let loaded = load_keys(&store, &["first", "second", "third"]).await;
    let mut hits: Vec<_> = loaded.hits.iter().map(|hit| (hit.instance, hit.key, hit.slot)).collect();
    let mut expected = vec![
        (id("a"), hash("second"), 2),
        (id("a"), hash("third"), 3),
        (id("b"), hash("first"), 1),
        (id("b"), hash("second"), 2),
    ];
    hits.sort_unstable();
    expected.sort_unstable();
    assert_eq!(hits, expected);
    let mut found: Vec<_> = loaded.instances.iter().map(|row| (row.id, row.revision)).collect();
    let mut both = vec![(id("a"), 2), (id("b"), 1)];
    found.sort_unstable();
    both.sort_unstable();
    assert_eq!(found, both, "whoever is hit comes with the hits, each once");

    let shards: Vec<i16> = (0..64).collect();
    let due = store.due_timers(&shards, None, 100).await.expect("the store gives due timers");
    let of_a: Vec<_> = due.iter().filter(|timer| timer.instance == id("a")).map(|timer| timer.slot).collect();
    let of_b: Vec<_> = due.iter().filter(|timer| timer.instance == id("b")).map(|timer| timer.slot).collect();
    assert_eq!((of_a, of_b), (vec![2, 3], vec![1, 2]));
}

/// The driver sorts before it locks; the verdicts are in the caller's order all the same.
pub async fn verdicts_stand_in_the_order_of_the_groups(store: Shared) {
    let names: Vec<String> = (0..40).map(|n| format!("i{n}")).collect();
    apply(&store, names.iter().step_by(2).map(|name| group(name, 0)).collect()).await;
    let verdicts = commit(&store, names.iter().map(|name| group(name, 0)).collect()).await;
    for (ord, verdict) in verdicts.iter().enumerate() {
        let expected = if ord % 2 == 0 { Verdict::Conflict } else { Verdict::Applied };
        assert_eq!(*verdict, expected, "group {ord}");
    }
}

/// Promise 2: who comes with an old revision writes nothing, and his batch's other groups are written.
pub async fn a_conflict_takes_only_its_own_group_out(store: Shared) {
    apply(&store, vec![group("a", 0), group("b", 0)]).await;
    apply(&store, vec![group("a", 1)]).await;
    let late = Group {
        park: vec![parked("e", "k")],
        dead: vec![letter("l")],
        post: vec![mail("b", "hello")],
        ..with(hearing("a", 1, &["late"]), |write| write.bookmarks.add = vec![bookmark("never", 1)])
    };
    let verdicts = commit(&store, vec![late, hearing("b", 1, &["good"]), hearing("c", 0, &["new"])]).await;
    assert_eq!(verdicts, [Verdict::Conflict, Verdict::Applied, Verdict::Applied]);
    assert!(!seen(&store, "late").await, "no inbox row of a group that was not written");
    assert!(load_keys(&store, &["never"]).await.hits.is_empty());
    assert!(load(&store, &["b"]).await.mail.is_empty());
    assert!(store.dead_letters(&[hash("letter l")]).await.expect("the store gives letters").is_empty());
    assert_eq!(store.parked_of_type("com.example.early", 0).await.expect("the store lists parked events"), []);
    assert_eq!((revision(&store, "a").await, revision(&store, "b").await, revision(&store, "c").await), (2, 2, 1));
    assert_eq!(history(&store, "a").await.len(), 2);
}

/// Asking for nothing is no error.
pub async fn an_empty_batch_and_an_empty_load_are_answered(store: Shared) {
    assert!(commit(&store, Vec::new()).await.is_empty());
    assert_eq!(commit_one(&store, Group::default()).await, Verdict::Applied, "a group may write nothing");
    let loaded = load(&store, &[]).await;
    assert!(loaded.instances.is_empty() && loaded.hits.is_empty() && loaded.mail.is_empty() && loaded.seen.is_empty());
}

/// A message that two groups of one batch bring is applied by the first of them alone.
pub async fn one_shared_message_in_two_groups_goes_with_the_first(store: Shared) {
    let verdicts = commit(&store, vec![hearing("z", 0, &["m"]), hearing("a", 0, &["m", "n"])]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Duplicate(vec![hash("m")])]);
    assert_eq!((revision(&store, "z").await, revision(&store, "a").await), (1, 0));
    assert!(!seen(&store, "n").await);
}

/// D2: folded messages stand and fall together; the fresh ones of a refused group can be applied afterwards.
pub async fn d2_a_duplicate_takes_its_whole_group_out_and_leaves_no_inbox_row(store: Shared) {
    apply(&store, vec![hearing("a", 0, &["m1"]), hearing("b", 0, &["m2"])]).await;
    let folded = hearing("a", 1, &["fresh1", "m1", "fresh2", "m2"]);
    let verdicts = commit(&store, vec![folded, hearing("b", 1, &["m3"])]).await;
    let Verdict::Duplicate(mut keys) = verdicts[0].clone() else { panic!("{:?} is no Duplicate", verdicts[0]) };
    let mut known = [hash("m1"), hash("m2")];
    keys.sort_unstable();
    known.sort_unstable();
    assert_eq!(keys, known, "all that are known, and no others");
    assert_eq!(verdicts[1], Verdict::Applied);
    assert!(!seen(&store, "fresh1").await && !seen(&store, "fresh2").await, "a lost message");
    assert_eq!(instance(&store, "a").await.map(|row| (row.revision, row.state)), Some((1, "state of a at 1".into())));
    assert_eq!(commit_one(&store, hearing("a", 1, &["fresh1", "fresh2"])).await, Verdict::Applied);
    assert_eq!(history(&store, "a").await.len(), 2, "one journal row for a group of two messages");
}

/// D10: no orphans, and no parent that waits for a child that never began.
pub async fn d10_a_child_is_inserted_with_its_parent_or_not_at_all(store: Shared) {
    apply(&store, vec![group("parent", 0), group("other", 0)]).await;
    let child = |name: &str| {
        let (id_of_child, mut child) = write(name, 0);
        child.parent = Some(Parent { instance: id("parent"), slot: Some(7) });
        child.bookmarks.add = vec![bookmark("child waits", 1)];
        (id_of_child, child)
    };
    let with_child = |revision, name: &str| Group { children: vec![child(name)], ..group("parent", revision) };

    assert_eq!(commit_one(&store, with_child(5, "child")).await, Verdict::Conflict);
    assert_eq!(revision(&store, "child").await, 0, "an orphan");
    assert!(load_keys(&store, &["child waits"]).await.hits.is_empty());

    assert_eq!(commit_one(&store, with_child(1, "child")).await, Verdict::Applied);
    assert_eq!((revision(&store, "parent").await, revision(&store, "child").await), (2, 1));
    assert_eq!(history(&store, "child").await.len(), 1);
    let summary = store.instance(id("child")).await.expect("the store gives an instance").expect("the child is there");
    assert_eq!(summary.parent, Some(id("parent")));
    let child_row = instance(&store, "child").await.expect("the child is there");
    assert_eq!(child_row.parent, Some(Parent { instance: id("parent"), slot: Some(7) }), "it knows who awaits its end");

    let verdicts = commit(&store, vec![with_child(2, "child"), group("other", 1)]).await;
    assert_eq!(verdicts, [Verdict::Conflict, Verdict::Applied]);
    assert_eq!(revision(&store, "parent").await, 2, "the parent went on although its child was refused");
}

/// D11: after an unknown outcome the same batch is committed again; nothing is there twice.
pub async fn d11_the_same_batch_twice_writes_once(store: Shared) {
    let driver = worker(1);
    store.beat(driver, LONG_US).await.expect("the store answers a beat");
    let prepared = vec![
        Group { post: vec![mail("drains", "old mail")], ..group("drains", 0) },
        parking("early", "k"),
        with(group("calls", 0), |write| write.effects.add = vec![effect(1)]),
        group("claims", 0),
    ];
    for verdict in commit_as(&store, Some(driver), prepared).await {
        assert_eq!(verdict, Verdict::Applied);
    }
    let old = load(&store, &["drains"]).await.mail[0].id;
    let batch = vec![
        Group { post: vec![mail("elsewhere", "new mail")], dead: vec![letter("l")], ..hearing("starts", 0, &["m1"]) },
        Group { mail: vec![old], ..group("drains", 1) },
        Group { claims: vec![hash("parked early")], ..group("claims", 1) },
        Group {
            fences: vec![lease("calls", 1, 1)],
            ..with(group("calls", 1), |write| write.effects.drop = vec![effect(1)])
        },
        Group { inbox: vec![hash("m2")], post: vec![mail("elsewhere", "broadcast")], ..Group::default() },
    ];
    let first = commit_as(&store, Some(driver), batch.clone()).await;
    assert!(first.iter().all(|verdict| *verdict == Verdict::Applied), "{first:?}");
    let second = commit_as(&store, Some(driver), batch).await;
    assert_eq!(second[0], Verdict::Duplicate(vec![hash("m1")]));
    assert_eq!(second[1], Verdict::Gone);
    assert_eq!(second[2], Verdict::Gone);
    assert_eq!(second[3], Verdict::Fenced(vec![lease("calls", 1, 1)]));
    assert_eq!(second[4], Verdict::Duplicate(vec![hash("m2")]));
    for (name, rows) in [("starts", 1), ("drains", 2), ("claims", 2), ("calls", 2)] {
        assert_eq!(history(&store, name).await.len(), rows, "{name}");
    }
    assert_eq!(load(&store, &["elsewhere"]).await.mail.len(), 2);
    assert_eq!(store.list_dead_letters(&Default::default()).await.expect("the store lists letters").len(), 1);
}

/// D12: a trigger that is replayed after its inbox row is gone meets its instance's id.
pub async fn d12_a_replayed_start_is_refused_by_its_id_alone(store: Shared) {
    apply(&store, vec![hearing("a", 0, &["trigger"])]).await;
    apply(&store, vec![group("a", 1)]).await;
    // The inbox knows nothing of this message, as after its row's retention.
    let verdicts = commit(&store, vec![hearing("a", 0, &["trigger, forgotten"]), hearing("b", 0, &["m"])]).await;
    assert_eq!(verdicts, [Verdict::Conflict, Verdict::Applied]);
    assert!(!seen(&store, "trigger, forgotten").await);
    assert_eq!(instance(&store, "a").await.map(|row| (row.revision, row.state)), Some((2, "state of a at 2".into())));
    assert_eq!(history(&store, "a").await.len(), 2);
}

/// D15: one clock, the database's, stamps all rows, and it does not go back.
pub async fn d15_the_time_is_the_databases(store: Shared) {
    let before = load(&store, &[]).await.now_us;
    apply(&store, vec![Group { dead: vec![letter("l")], ..group("a", 0) }]).await;
    let after = load(&store, &[]).await.now_us;
    let at_us = history(&store, "a").await[0].at_us;
    assert!(before <= at_us && at_us <= after, "{before} {at_us} {after}");
    let written_us = store.list_dead_letters(&Default::default()).await.expect("the store lists letters")[0].at_us;
    assert!(before <= written_us && written_us <= after, "the store sets a letter's time");
    let beat = store.beat(worker(1), LONG_US).await.expect("the store answers a beat");
    assert!(after <= beat.now_us);
}
