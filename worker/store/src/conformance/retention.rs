//! What is over goes, and nothing else: messages, histories, letters, ended instances. And who lives under an activation key.

use super::fixtures::*;
use crate::port::{Group, InstanceWrite, Keep, Retired, Verdict};
use crate::rows::{REMARK_ROW, Remark};

/// Whatever is older than this moment is over.
const NOTHING_KEPT: Option<i64> = Some(-172_800_000_000);

/// All pages of one pass.
async fn retire(store: &Shared, keep: &Keep) -> Retired {
    let mut all = Retired::default();
    let mut after = None;
    loop {
        let some = store.retire(keep, after, 3).await.expect("the store takes out what is over");
        all.inbox += some.inbox;
        all.journal += some.journal;
        all.letters += some.letters;
        all.instances += some.instances;
        after = some.next;
        if after.is_none() {
            return all;
        }
    }
}

fn ends(write: &mut InstanceWrite) {
    (write.ended, write.status) = (true, 4);
}

/// Nothing goes that is younger than asked for, and nothing at all of what is kept for ever.
pub async fn what_is_not_over_stays(store: Shared) {
    apply(&store, vec![with(hearing("a", 0, &["m"]), ends)]).await;
    apply(&store, vec![Group { dead: vec![letter("l")], ..Group::default() }]).await;
    let day_us = 86_400_000_000;
    let kept =
        Keep { inbox_us: Some(day_us), journal_us: Some(day_us), letters_us: Some(day_us), instances_us: Some(day_us) };
    assert_eq!(retire(&store, &kept).await, Retired::default());
    assert_eq!(retire(&store, &Keep::default()).await, Retired::default());
    assert!(seen(&store, "m").await);
    assert_eq!((revision(&store, "a").await, history(&store, "a").await.len()), (1, 1));
}

/// Ended instances go with all that is theirs, page by page; what lives stays, and so does who has still something to do.
pub async fn ended_instances_go_and_the_living_stay(store: Shared) {
    for n in 0..8 {
        let name = format!("i{n}");
        apply(&store, vec![group(&name, 0)]).await;
        if n % 2 == 0 {
            apply(&store, vec![with(group(&name, 1), ends)]).await;
        }
    }
    let busy = with(group("i0", 2), |write| {
        ends(write);
        write.effects.add = vec![effect(1)];
    });
    apply(&store, vec![busy]).await;
    apply(&store, vec![Group { post: vec![mail("i2", "late")], ..Group::default() }]).await;
    let gone = retire(&store, &Keep { instances_us: NOTHING_KEPT, ..Keep::default() }).await;
    assert_eq!(gone, Retired { instances: 2, ..Retired::default() });
    for (n, expected) in [3, 1, 2, 1, 0, 1, 0, 1].into_iter().enumerate() {
        assert_eq!(revision(&store, &format!("i{n}")).await, expected, "i{n}");
    }
}

/// D12: while the instance is there its id refuses a trigger that is played again, also without its inbox row; when it is
/// gone, too, the trigger starts it anew.
pub async fn d12_a_trigger_played_again_is_refused_as_long_as_its_instance_is_known(store: Shared) {
    let start = || with(hearing("a", 0, &["trigger"]), ends);
    apply(&store, vec![start()]).await;
    assert_eq!(commit_one(&store, start()).await, Verdict::Duplicate(vec![hash("trigger")]));
    apply(&store, vec![hearing("b", 0, &["another"])]).await;
    retire(&store, &Keep { instances_us: NOTHING_KEPT, ..Keep::default() }).await;
    assert_eq!(commit_one(&store, start()).await, Verdict::Duplicate(vec![hash("trigger")]), "the inbox still knows");
}

/// D13: what a relay has not read is kept, however old, and so are the letters that it is to publish.
pub async fn d13_nothing_goes_that_a_relay_has_still_to_read(store: Shared) {
    store.beat(worker(1), LONG_US).await.expect("the store takes a sign of life");
    apply(&store, vec![group("a", 0), Group { dead: vec![letter("l")], ..Group::default() }]).await;
    let all = Keep { journal_us: NOTHING_KEPT, letters_us: NOTHING_KEPT, ..Keep::default() };
    assert_eq!(retire(&store, &all).await.letters, 0);
    assert_eq!(history(&store, "a").await.len(), 1);
    assert_eq!(drain(&store, worker(1), 100).await.len(), 2, "both are still there to be published");
}

/// D9: a remark is part of the history, in its place, and no transition.
pub async fn d9_a_remark_is_shown_in_its_place_and_changes_nothing(store: Shared) {
    apply(&store, vec![group("a", 0)]).await;
    let remark = Remark { instance: id("a"), definition: 1, events: "a late result".into() };
    apply(&store, vec![Group { remarks: vec![remark], ..Group::default() }]).await;
    apply(&store, vec![group("a", 1)]).await;
    let rows = history(&store, "a").await;
    assert_eq!(rows.iter().map(|row| row.revision).collect::<Vec<_>>(), [1, REMARK_ROW, 2]);
    assert_eq!(rows[1].events, "a late result");
    assert_eq!(revision(&store, "a").await, 2);
}

fn active(name: &str, revision: i32, key: &str) -> Group {
    with(group(name, revision), |write| write.activation = Some(hash(key)))
}

/// One instance lives under a key at a time, whoever is faster, also within a batch; its end frees the key, and a retry takes
/// it again or is told who has it.
pub async fn one_instance_lives_under_an_activation_key(store: Shared) {
    let verdicts = commit(&store, vec![active("a", 0, "k"), active("b", 0, "k"), active("c", 0, "other")]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Active(id("a")), Verdict::Applied]);
    assert_eq!(revision(&store, "b").await, 0, "nothing of it was written");
    apply(&store, vec![active("a", 1, "k")]).await;
    assert_eq!(commit_one(&store, active("b", 0, "k")).await, Verdict::Active(id("a")));

    // Its end and the next one's start in one batch.
    apply(&store, vec![with(active("a", 2, "k"), ends), active("b", 0, "k")]).await;
    assert_eq!(commit_one(&store, active("a", 3, "k")).await, Verdict::Active(id("b")), "a retry");
    apply(&store, vec![with(active("b", 1, "k"), ends)]).await;
    apply(&store, vec![active("a", 3, "k")]).await;
    assert_eq!(commit_one(&store, active("b", 2, "k")).await, Verdict::Active(id("a")));
}
