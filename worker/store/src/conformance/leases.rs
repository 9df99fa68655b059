//! Who lives, who drives which effect, who holds which shard (PROTOCOL D7), and due timers.

use std::collections::BTreeSet;

use super::fixtures::*;
use crate::port::{Beat, DueTimer, Group, Verdict};
use crate::rows::{EffectLease, EffectRow, TimerRow, WorkerId};

async fn beat(store: &Shared, worker: WorkerId, lease_us: i64) -> Beat {
    store.beat(worker, lease_us).await.expect("the store answers a beat")
}

async fn adopt(store: &Shared, worker: WorkerId, limit: i64) -> Vec<EffectLease> {
    let mut leases = store.adopt(worker, limit).await.expect("the store lets adopt");
    leases.sort_unstable();
    leases
}

async fn held(store: &Shared, worker: WorkerId) -> Vec<EffectLease> {
    let mut leases = store.held(worker).await.expect("the store tells the held effects");
    leases.sort_unstable();
    leases
}

fn calling(name: &str, slots: &[i64]) -> Group {
    with(group(name, 0), |write| write.effects.add = slots.iter().map(|slot| effect(*slot)).collect())
}

/// The result of an effect, which ends it.
fn result(name: &str, revision: i32, lease: EffectLease) -> Group {
    let done = with(group(name, revision), |write| {
        write.effects.drop = vec![EffectRow { slot: lease.slot, pointer: String::new() }];
    });
    Group { fences: vec![lease], ..done }
}

/// D7: a dead worker's effect goes to another one with a higher epoch; what the old driver reports then is refused, and
/// only the new driver's result is written.
pub async fn d7_adoption_fences_the_old_driver(store: Shared) {
    let (old, new) = (worker(1), worker(2));
    beat(&store, old, LONG_US).await;
    commit_as(&store, Some(old), vec![calling("a", &[1, 2]), calling("b", &[1])]).await;
    let mut mine = vec![lease("a", 1, 1), lease("a", 2, 1), lease("b", 1, 1)];
    mine.sort_unstable();
    assert_eq!(held(&store, old).await, mine);
    beat(&store, new, LONG_US).await;
    assert_eq!(adopt(&store, new, 100).await, [], "a living worker keeps its effects");

    beat(&store, old, ENDED_US).await;
    let first = adopt(&store, new, 2).await;
    assert_eq!(first.len(), 2, "at most the limit");
    let rest = adopt(&store, new, 100).await;
    let mut taken: Vec<_> = first.into_iter().chain(rest).collect();
    taken.sort_unstable();
    let mut expected = vec![lease("a", 1, 2), lease("a", 2, 2), lease("b", 1, 2)];
    expected.sort_unstable();
    assert_eq!(taken, expected);
    assert_eq!(adopt(&store, new, 100).await, [], "one's own is not adopted again");
    assert_eq!(held(&store, old).await, []);
    assert_eq!(held(&store, new).await, expected);

    // The old driver comes back; of its group with one good fence nothing is written either.
    beat(&store, old, LONG_US).await;
    let late = Group { inbox: vec![hash("late")], ..result("a", 1, lease("a", 1, 1)) };
    let verdicts = commit_as(&store, Some(old), vec![late, group("c", 0)]).await;
    assert_eq!(verdicts, [Verdict::Fenced(vec![lease("a", 1, 1)]), Verdict::Applied]);
    assert!(!seen(&store, "late").await);
    assert_eq!(revision(&store, "a").await, 1);

    let mixed = Group { fences: vec![lease("a", 1, 2), lease("a", 2, 1)], ..result("a", 1, lease("a", 1, 2)) };
    let verdicts = commit_as(&store, Some(new), vec![mixed]).await;
    assert_eq!(verdicts, [Verdict::Fenced(vec![lease("a", 2, 1)])], "only the lost ones are named");
    let verdicts = commit_as(&store, Some(new), vec![result("a", 1, lease("a", 1, 2))]).await;
    assert_eq!(verdicts, [Verdict::Applied]);
    assert_eq!(revision(&store, "a").await, 2);
    assert_eq!(held(&store, new).await.len(), 2);
}

/// A result that comes after its effect was dropped (cancel, timeout, a lost race) is refused.
pub async fn d7_a_dropped_effect_fences_its_late_result(store: Shared) {
    let driver = worker(1);
    beat(&store, driver, LONG_US).await;
    commit_as(&store, Some(driver), vec![calling("a", &[1, 2])]).await;
    apply(&store, vec![with(group("a", 1), |write| write.effects.drop = vec![effect(1)])]).await;
    let verdicts = commit_as(&store, Some(driver), vec![result("a", 2, lease("a", 1, 1))]).await;
    assert_eq!(verdicts, [Verdict::Fenced(vec![lease("a", 1, 1)])]);
    assert_eq!(held(&store, driver).await, [lease("a", 2, 1)]);
}

/// Who has left holds nothing: its results are refused even before somebody else has taken over.
pub async fn d7_who_left_may_report_no_more(store: Shared) {
    let (old, new) = (worker(1), worker(2));
    beat(&store, old, LONG_US).await;
    commit_as(&store, Some(old), vec![calling("a", &[1])]).await;
    store.leave(old).await.expect("the store lets leave");
    assert_eq!(held(&store, old).await, []);
    let verdicts = commit_as(&store, Some(old), vec![result("a", 1, lease("a", 1, 1))]).await;
    assert_eq!(verdicts, [Verdict::Fenced(vec![lease("a", 1, 1)])]);
    beat(&store, new, LONG_US).await;
    let verdicts = commit_as(&store, Some(new), vec![result("a", 1, lease("a", 1, 1))]).await;
    assert_eq!(verdicts, [Verdict::Fenced(vec![lease("a", 1, 1)])], "an effect that one does not hold");
    assert_eq!(adopt(&store, new, 10).await, [lease("a", 1, 2)]);
    let verdicts = commit_as(&store, Some(new), vec![result("a", 1, lease("a", 1, 2))]).await;
    assert_eq!(verdicts, [Verdict::Applied]);
}

/// A commit without a worker (the command line) leaves its effects to whoever adopts them first.
pub async fn effects_of_nobody_wait_for_adoption(store: Shared) {
    commit_as(&store, None, vec![calling("a", &[1])]).await;
    beat(&store, worker(1), LONG_US).await;
    beat(&store, worker(2), LONG_US).await;
    assert_eq!(adopt(&store, worker(1), 10).await, [lease("a", 1, 2)]);
    assert_eq!(adopt(&store, worker(2), 10).await, []);
}

fn assert_fair(beats: &[&Beat]) {
    let mut all = BTreeSet::new();
    for beat in beats {
        assert!(beat.shards.len() <= 64_usize.div_ceil(beats.len()), "{} shards are too many", beat.shards.len());
        all.extend(beat.shards.iter().copied());
    }
    let sum: usize = beats.iter().map(|beat| beat.shards.len()).sum();
    assert_eq!(sum, all.len(), "no shard has two holders");
    assert_eq!(all, (0..64).collect::<BTreeSet<i16>>(), "each shard has a holder");
}

/// The first takes all; as others come it gives back, until each has its part.
pub async fn three_workers_share_the_shards_fairly(store: Shared) {
    let alone = beat(&store, worker(1), LONG_US).await;
    assert_eq!((alone.shards.len(), alone.workers), (64, 1));
    beat(&store, worker(2), LONG_US).await;
    beat(&store, worker(3), LONG_US).await;
    let mut beats = Vec::new();
    for _ in 0..2 {
        beats = Vec::new();
        for number in 1..=3 {
            beats.push(beat(&store, worker(number), LONG_US).await);
        }
    }
    assert_fair(&beats.iter().collect::<Vec<_>>());
    assert!(beats.iter().all(|beat| beat.workers == 3));
    let again = beat(&store, worker(2), LONG_US).await;
    assert_eq!(again.shards, beats[1].shards, "what is fair stays as it is");
}

/// After its lease a silent worker's shards go to the others; when it comes back it learns from its beat that they are
/// gone.
pub async fn a_dead_workers_shards_are_taken_over(store: Shared) {
    beat(&store, worker(1), LONG_US).await;
    beat(&store, worker(2), LONG_US).await;
    beat(&store, worker(1), LONG_US).await;
    let second = beat(&store, worker(2), LONG_US).await;
    assert_eq!(second.shards.len(), 32);
    // Its last sign of life has no lease left.
    let last = beat(&store, worker(1), ENDED_US).await;
    assert_eq!(last.shards.len(), 32);
    let heir = beat(&store, worker(2), LONG_US).await;
    assert_eq!((heir.shards.len(), heir.workers), (64, 1));
    let back = beat(&store, worker(1), LONG_US).await;
    assert_eq!((back.shards.len(), back.workers), (0, 2), "what others hold is not taken from the living");
    let heir = beat(&store, worker(2), LONG_US).await;
    let back = beat(&store, worker(1), LONG_US).await;
    assert_fair(&[&heir, &back]);
}

/// A drained worker's shards are free at once, not after its lease.
pub async fn leaving_frees_the_shards(store: Shared) {
    beat(&store, worker(1), LONG_US).await;
    beat(&store, worker(2), LONG_US).await;
    store.leave(worker(1)).await.expect("the store lets leave");
    let heir = beat(&store, worker(2), LONG_US).await;
    assert_eq!((heir.shards.len(), heir.workers), (64, 1));
    assert!(read(&store, worker(1), 10).await.is_empty());
}

/// Due timers come oldest first over all asked shards; those of other shards and of later times do not.
pub async fn due_timers_come_oldest_first(store: Shared) {
    let timed = |name: String, due_us: i64| {
        with(group(&name, 0), |write| write.timers.add = vec![TimerRow { due_us, slot: 5 }])
    };
    // 37 and 101 have no common divisor: the times are all different and in no order.
    apply(&store, (0..100).map(|n| timed(format!("t{n}"), 1 + (n * 37) % 101)).collect()).await;
    apply(&store, vec![timed("later".to_owned(), i64::MAX / 2)]).await;
    let shards: Vec<i16> = (0..64).collect();
    let due = store.due_timers(&shards, None, 1_000).await.expect("the store gives due timers");
    assert_eq!(due.len(), 100);
    assert!(due.is_sorted_by_key(|timer| timer.due_us));
    assert!(due.iter().all(|timer| timer.slot == 5 && timer.instance != id("later")));
    let first = store.due_timers(&shards, None, 10).await.expect("the store gives due timers");
    assert_eq!(first, due[..10]);
    let some = [due[0].instance.shard(64), due[50].instance.shard(64)];
    let expected: Vec<_> = due.iter().filter(|timer| some.contains(&timer.instance.shard(64))).cloned().collect();
    assert_eq!(store.due_timers(&some, None, 1_000).await.expect("the store gives due timers"), expected);
    assert_eq!(store.due_timers(&[], None, 1_000).await.expect("the store gives due timers"), []);
}

/// Page behind page, each from the last timer of the one before: all of them, in the order of their due times over all
/// shards, whatever the page's size, and also when they are all of one shard. What is fired meanwhile is not in the way.
pub async fn a_backlog_of_timers_is_read_in_pages_oldest_first(store: Shared) {
    const ONE: i16 = 7;
    let names: Vec<String> = (0..1_000).map(|n| format!("t{n}")).collect();
    // Every moment has several timers, and pages end in the middle of them.
    let due_us = |n: usize| 1 + (n as i64 * 37) % 211;
    for some in 0..5 {
        let timed = (some * 200..(some + 1) * 200).map(|n| {
            let timer = TimerRow { due_us: due_us(n), slot: n as i64 % 3 };
            with(group(&names[n], 0), |write| write.timers.add = vec![timer])
        });
        apply(&store, timed.collect()).await;
    }
    let all: Vec<i16> = (0..64).collect();
    let pages = async |shards: &[i16], limit: i64| {
        let mut found: Vec<DueTimer> = Vec::new();
        loop {
            let page =
                store.due_timers(shards, found.last().copied(), limit).await.expect("the store gives due timers");
            found.extend(&page);
            if (page.len() as i64) < limit {
                return found;
            }
        }
    };
    let mut expected: Vec<DueTimer> =
        (0..1_000).map(|n| DueTimer { due_us: due_us(n), instance: id(&names[n]), slot: n as i64 % 3 }).collect();
    expected.sort_unstable();
    for limit in [7, 70, 5_000] {
        assert_eq!(pages(&all, limit).await, expected, "pages of {limit}");
    }
    expected.retain(|timer| timer.instance.shard(64) == ONE);
    assert_eq!(pages(&[ONE], 10).await, expected);

    // All others are fired, so that the shards' parts are as uneven as can be.
    let mut others = Vec::new();
    for (n, name) in names.iter().enumerate().filter(|(_, name)| id(name).shard(64) != ONE) {
        let timer = TimerRow { due_us: due_us(n), slot: n as i64 % 3 };
        others.push(with(group(name, 1), |write| write.timers.drop = vec![timer]));
    }
    apply(&store, others).await;
    assert!(expected.len() > 8, "{}", expected.len());
    for limit in [3, 500] {
        assert_eq!(pages(&all, limit).await, expected, "pages of {limit}");
    }
}

/// D8: who did not leave is missed by the next sign of life; who left is not.
pub async fn d8_a_worker_that_died_is_missed_and_one_that_left_is_not(store: Shared) {
    let beat = |number: u128, lease_us: i64| {
        let store = store.clone();
        async move { store.beat(worker(number), lease_us).await.expect("the store takes a sign of life") }
    };
    assert_eq!(beat(1, LONG_US).await.died_us, 0);
    beat(2, LONG_US).await;
    store.leave(worker(2)).await.expect("a worker leaves");
    assert_eq!(beat(1, LONG_US).await.died_us, 0);
    let last = beat(3, ENDED_US).await;
    let missed = beat(1, LONG_US).await;
    assert_eq!(missed.dead_until_us, last.now_us, "its lease ended there");
    assert!(missed.died_us > 0 && missed.died_us <= missed.now_us);
    assert_eq!(beat(4, LONG_US).await.died_us, missed.died_us, "all hear of it");
}
