//! Mail: what could not be applied in the transaction that recorded its message (PROTOCOL D1).

use flagstop_schemas::InstanceId;

use super::fixtures::*;
use crate::port::{Group, MAIL_MAX, Verdict};

const ALL: std::ops::Range<i16> = 0..64;

/// D1: a broadcast records its message and all its mail at once; refused as a duplicate it writes neither.
pub async fn d1_mail_is_written_with_the_inbox_row_or_not_at_all(store: Shared) {
    let broadcast =
        |says: &str| Group { inbox: vec![hash("m")], post: vec![mail("a", says), mail("b", says)], ..Group::default() };
    apply(&store, vec![group("a", 0), group("b", 0)]).await;
    assert_eq!(commit_one(&store, broadcast("first")).await, Verdict::Applied);
    assert_eq!(commit_one(&store, broadcast("again")).await, Verdict::Duplicate(vec![hash("m")]));
    let mail = load(&store, &["a", "b"]).await.mail;
    let mut got: Vec<_> = mail.iter().map(|row| (row.instance, row.stimulus.clone())).collect();
    let mut expected = vec![(id("a"), "first".into()), (id("b"), "first".into())];
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

/// D1: mail comes in the order in which it was posted, and who drains it second gets nothing of his group written.
pub async fn d1_mail_is_drained_once_and_in_order(store: Shared) {
    apply(&store, vec![group("a", 0), group("b", 0)]).await;
    apply(&store, vec![Group { post: vec![mail("a", "1"), mail("b", "x"), mail("a", "2")], ..Group::default() }]).await;
    apply(&store, vec![Group { post: vec![mail("a", "3")], ..Group::default() }]).await;
    let loaded = load(&store, &["a"]).await.mail;
    assert_eq!(loaded.iter().map(|row| row.stimulus.clone()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert!(loaded.is_sorted_by_key(|row| row.id));
    assert!(loaded.iter().all(|row| row.definition == 1));

    let first_two = Group { mail: vec![loaded[0].id, loaded[1].id], ..hearing("a", 1, &["m1"]) };
    assert_eq!(commit_one(&store, first_two).await, Verdict::Applied);
    let overlapping = Group { mail: vec![loaded[1].id, loaded[2].id], ..hearing("a", 2, &["m2"]) };
    assert_eq!(commit_one(&store, overlapping).await, Verdict::Gone);
    assert!(!seen(&store, "m2").await);
    let left = load(&store, &["a"]).await;
    assert_eq!(
        left.mail.iter().map(|row| row.stimulus.clone()).collect::<Vec<_>>(),
        ["3"],
        "a group that left lost mail"
    );
    assert_eq!(left.instances[0].revision, 2);
    assert_eq!(load(&store, &["b"]).await.mail.len(), 1);
}

/// D1: mail to an instance that is not there yet (a start) is found by its id, and drained by its first transition.
pub async fn d1_mail_may_come_before_its_instance(store: Shared) {
    apply(&store, vec![Group { inbox: vec![hash("m")], post: vec![mail("new", "start")], ..Group::default() }]).await;
    let loaded = load(&store, &["new"]).await;
    assert!(loaded.instances.is_empty());
    assert_eq!(loaded.mail.len(), 1);
    let start = Group { mail: vec![loaded.mail[0].id], ..group("new", 0) };
    assert_eq!(commit_one(&store, start).await, Verdict::Applied);
    let after = load(&store, &["new"]).await;
    assert_eq!((after.instances.len(), after.mail.len()), (1, 0));
}

/// Mail that its worker left behind is found by its age and shard, whoever it is for.
pub async fn stale_mail_names_each_instance_once(store: Shared) {
    apply(&store, vec![group("a", 0)]).await;
    let post = vec![mail("a", "1"), mail("a", "2"), mail("b", "3")];
    commit_as(&store, Some(worker(1)), vec![Group { post, ..Group::default() }]).await;
    let shards: Vec<i16> = ALL.collect();
    let stale = |shards: Vec<i16>, age_us| {
        let store = store.clone();
        async move {
            let found = store.stale_mail(&shards, age_us, None, 100).await.expect("the store finds stale mail");
            let mut whose: Vec<_> = found.into_iter().map(|(instance, _)| instance).collect();
            whose.sort_unstable();
            whose
        }
    };
    let mut both = vec![id("a"), id("b")];
    both.sort_unstable();
    assert_eq!(stale(shards.clone(), 0).await, both);
    assert_eq!(stale(shards.clone(), LONG_US).await, []);
    let mut others = shards.clone();
    others.retain(|shard| *shard != id("a").shard(64) && *shard != id("b").shard(64));
    assert_eq!(stale(others, 0).await, []);
    // Page by page, and what stays unread at the front hides nobody.
    let page = async |after| {
        let page = store.stale_mail(&shards, 0, after, 1).await.expect("the store finds stale mail");
        page.into_iter().map(|(instance, _)| instance).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, both[..1]);
    assert_eq!(page(Some(both[0])).await, both[1..]);
    assert_eq!(page(Some(both[1])).await, []);
}

/// The command line's letters have nobody who sees to them: they are stale from the beginning, however patient one is with
/// a worker's.
pub async fn mail_of_nobody_is_stale_at_once(store: Shared) {
    apply(&store, vec![Group { post: vec![mail("a", "cancel")], ..Group::default() }]).await;
    commit_as(&store, Some(worker(1)), vec![Group { post: vec![mail("b", "event")], ..Group::default() }]).await;
    assert_eq!(stale(&store, LONG_US).await, [id("a")]);
}

async fn stale(store: &Shared, age_us: i64) -> Vec<InstanceId> {
    let shards: Vec<i16> = ALL.collect();
    let found = store.stale_mail(&shards, age_us, None, 100).await.expect("the store finds stale mail");
    found.into_iter().map(|(instance, _)| instance).collect()
}

/// D8: whether mail was there before a worker died is told by its time, whoever wrote it.
pub async fn d8_stale_mail_says_since_when_it_waits(store: Shared) {
    let shards: Vec<i16> = ALL.collect();
    let before_us = load(&store, &[]).await.now_us;
    apply(&store, vec![Group { post: vec![mail("a", "cancel")], ..Group::default() }]).await;
    commit_as(&store, Some(worker(1)), vec![Group { post: vec![mail("b", "event")], ..Group::default() }]).await;
    let after_us = load(&store, &[]).await.now_us;
    let found = store.stale_mail(&shards, 0, None, 100).await.expect("the store finds stale mail");
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(_, since_us)| (before_us..=after_us).contains(since_us)), "{found:?}");
}

/// D8: what waits for an instance that is set aside is looked for when it is released; what an operator tells it, at once.
pub async fn d8_mail_of_what_is_set_aside_rests(store: Shared) {
    apply(&store, vec![group("a", 0), aside("a", Some("it kills"))]).await;
    commit_as(&store, Some(worker(1)), vec![Group { post: vec![mail("a", "event")], ..Group::default() }]).await;
    commit_as(&store, Some(worker(1)), vec![Group { post: vec![mail("new", "start")], ..Group::default() }]).await;
    assert_eq!(stale(&store, 0).await, [id("new")]);
    apply(&store, vec![Group { post: vec![mail("a", "continue")], ..Group::default() }]).await;
    assert_eq!(stale(&store, 0).await.len(), 2);
}

/// Promise 8: of a mailbox with more rows than a load gives, the oldest come; the rest when those are drained. Another
/// instance's mail is not held back by them.
pub async fn promise_8_a_full_mailbox_is_loaded_in_parts(store: Shared) {
    apply(&store, vec![group("full", 0), group("b", 0)]).await;
    let posted = 2 * MAIL_MAX + 7;
    let post = (0..posted).map(|n| mail("full", &n.to_string())).chain([mail("b", "last")]).collect();
    apply(&store, vec![Group { post, ..Group::default() }]).await;
    let mut got = Vec::new();
    for revision in 1.. {
        let loaded = load(&store, &["full", "b"]).await.mail;
        assert!(loaded.iter().any(|row| row.instance == id("b")));
        let part: Vec<_> = loaded.into_iter().filter(|row| row.instance == id("full")).collect();
        assert!(part.len() <= MAIL_MAX, "{} rows at once", part.len());
        if part.is_empty() {
            break;
        }
        let drained = Group { mail: part.iter().map(|row| row.id).collect(), ..group("full", revision) };
        assert_eq!(commit_one(&store, drained).await, Verdict::Applied);
        got.extend(part.into_iter().map(|row| row.stimulus));
    }
    let expected: Vec<_> = (0..posted).map(|n| n.to_string()).collect();
    assert_eq!(got, expected);
}
