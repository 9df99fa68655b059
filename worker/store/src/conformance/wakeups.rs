//! Early events and the waits that they meet (PROTOCOL D3).

use super::fixtures::*;
use crate::port::{Group, LookRequest, MEETINGS_MAX, Verdict};
use crate::rows::{BookmarkRow, Meeting, NewParked};

/// What one side of the race has found out so far.
#[derive(Default)]
struct Side {
    meetings: Vec<Meeting>,
    revision: i32,
    delivered: usize,
}

/// The steps of a side, in its order.
const STEPS: usize = 4;

/// A round of the race, with names of its own.
struct Round {
    store: Shared,
    name: String,
}

impl Round {
    fn parked_keys(&self) -> LookRequest {
        LookRequest { parked: vec![hash(&self.name)], bookmarks: Vec::new(), kept: Vec::new() }
    }

    fn bookmark_keys(&self) -> LookRequest {
        LookRequest { parked: Vec::new(), bookmarks: vec![hash(&self.name)], kept: Vec::new() }
    }

    /// The event's side: commit the parked row, look, load, claim. The wait's side: commit the bookmark, the same.
    async fn step(&self, event_side: bool, step: usize, side: &mut Side) {
        let store = &self.store;
        match step {
            0 if event_side => {
                // As a worker decides: who waits is asked before, and nobody was there yet.
                assert_eq!(commit_one(store, parking(&self.name, &self.name)).await, Verdict::Applied);
            }
            0 => {
                let waits = with(group(&self.name, 0), |write| write.bookmarks.add = vec![bookmark(&self.name, 1)]);
                assert_eq!(commit_one(store, waits).await, Verdict::Applied);
            }
            1 => {
                let request = if event_side { self.parked_keys() } else { self.bookmark_keys() };
                side.meetings = store.look(&request).await.expect("the store looks");
            }
            2 => side.revision = revision(store, &self.name).await,
            _ => {
                for meeting in std::mem::take(&mut side.meetings) {
                    side.delivered += usize::from(claim(store, &self.name, side.revision, &meeting).await);
                }
            }
        }
    }
}

/// Claims a meeting for the instance; whether it was delivered.
async fn claim(store: &Shared, name: &str, at: i32, meeting: &Meeting) -> bool {
    assert_eq!(meeting.instance, id(name));
    let heard = Group {
        claims: vec![meeting.parked],
        ..with(group(name, at), |write| write.bookmarks.drop = vec![bookmark(name, meeting.slot)])
    };
    match commit_one(store, heard).await {
        Verdict::Applied => true,
        Verdict::Gone | Verdict::Conflict => false,
        other => panic!("a claim ended as {other:?}"),
    }
}

/// All orders in which the steps of the two sides can follow one another, each as which side is next.
fn interleavings(event: usize, wait: usize) -> Vec<Vec<bool>> {
    if event == 0 && wait == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (side, left) in [(true, (event.checked_sub(1), Some(wait))), (false, (Some(event), wait.checked_sub(1)))] {
        if let (Some(event), Some(wait)) = left {
            for mut rest in interleavings(event, wait) {
                rest.insert(0, side);
                all.push(rest);
            }
        }
    }
    all
}

/// D3: however the two sides' commits, looks and claims fall, the event is delivered exactly once.
pub async fn d3_every_interleaving_delivers_once(store: Shared) {
    let orders = interleavings(STEPS, STEPS);
    assert_eq!(orders.len(), 70);
    for (number, order) in orders.iter().enumerate() {
        let round = Round { store: store.clone(), name: format!("round {number}") };
        let (mut event, mut wait) = (Side::default(), Side::default());
        let (mut event_step, mut wait_step) = (0, 0);
        for event_side in order {
            let (side, step) = if *event_side { (&mut event, &mut event_step) } else { (&mut wait, &mut wait_step) };
            round.step(*event_side, *step, side).await;
            *step += 1;
        }
        assert_eq!(event.delivered + wait.delivered, 1, "order {order:?}");
        assert_eq!(revision(&store, &round.name).await, 2, "order {order:?}");
        assert_eq!(history(&store, &round.name).await.len(), 2, "order {order:?}");
        assert_eq!(store.look(&round.parked_keys()).await.expect("the store looks"), [], "order {order:?}");
    }
    assert!(store.sweep(None, 1_000).await.expect("the store sweeps").0.is_empty());
    assert!(store.parked_of_type("com.example.early", 0).await.expect("the store lists parked events").is_empty());
}

/// D3: both sides die between their commit and their look, in either order; the sweep finds the meeting.
pub async fn d3_a_crash_before_the_look_is_healed_by_the_sweep(store: Shared) {
    for (name, event_first) in [("event first", true), ("wait first", false)] {
        let round = Round { store: store.clone(), name: name.to_owned() };
        round.step(event_first, 0, &mut Side::default()).await;
        round.step(!event_first, 0, &mut Side::default()).await;
        let (meetings, _) = store.sweep(None, 100).await.expect("the store sweeps");
        assert_eq!(meetings.len(), 1, "{name}");
        assert_eq!((meetings[0].key, meetings[0].slot), (hash(name), 1));
        assert_eq!(meetings[0].event, format!("event {name}"));
        assert!(claim(&store, name, 1, &meetings[0]).await);
        assert!(
            store.sweep(None, 100).await.expect("the store sweeps").0.is_empty(),
            "{name}: delivered and still found"
        );
    }
}

/// A wait takes one event; the second stays for whoever waits next.
pub async fn d3_two_events_for_one_wait_deliver_one_and_keep_the_other(store: Shared) {
    let first = Group { park: vec![parked("e1", "k")], ..Group::default() };
    apply(&store, vec![first]).await;
    apply(&store, vec![Group { park: vec![parked("e2", "k")], ..Group::default() }]).await;
    apply(&store, vec![with(group("k", 0), |write| write.bookmarks.add = vec![bookmark("k", 1)])]).await;
    let request = LookRequest { parked: Vec::new(), bookmarks: vec![hash("k")], kept: Vec::new() };
    let meetings = store.look(&request).await.expect("the store looks");
    assert_eq!(meetings.len(), 2);
    assert_eq!(meetings[0].event, "event e1", "the older comes first");
    assert!(claim(&store, "k", 1, &meetings[0]).await);
    assert!(!claim(&store, "k", 1, &meetings[1]).await, "the wait is over");
    assert_eq!(store.look(&request).await.expect("the store looks"), []);
    let kept = store.parked_of_type("com.example.early", 0).await.expect("the store lists parked events");
    assert_eq!(kept.iter().map(|event| event.id).collect::<Vec<_>>(), [hash("parked e2")]);
}

/// A parked row is one claim: of two instances that wait for it, one gets it.
pub async fn d3_one_event_for_two_waits_is_claimed_once(store: Shared) {
    let waits = |name: &str| with(group(name, 0), |write| write.bookmarks.add = vec![bookmark("k", 1)]);
    apply(&store, vec![waits("a"), waits("b")]).await;
    apply(&store, vec![Group { park: vec![parked("e", "k")], ..Group::default() }]).await;
    let request = LookRequest { parked: vec![hash("k")], bookmarks: vec![hash("k")], kept: Vec::new() };
    assert_eq!(store.look(&request).await.expect("the store looks").len(), 2, "each pair once");
    let heard = |name: &str| Group { claims: vec![hash("parked e")], ..group(name, 1) };
    let verdicts = commit(&store, vec![heard("a"), heard("b")]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Gone], "the first group of the batch gets it");
    assert_eq!((revision(&store, "a").await, revision(&store, "b").await), (2, 1));
    assert_eq!(commit_one(&store, heard("b")).await, Verdict::Gone);
}

/// A wait that opened later does not hear what arrived before; one that hears however old does.
pub async fn d3_an_event_older_than_the_wait_is_no_meeting(store: Shared) {
    apply(&store, vec![Group { park: vec![parked("early", "k")], ..Group::default() }]).await;
    let (meetings, opened_us) = {
        let waits = with(group("old", 0), |write| write.bookmarks.add = vec![bookmark("k", 1)]);
        apply(&store, vec![waits]).await;
        let request = LookRequest { parked: Vec::new(), bookmarks: vec![hash("k")], kept: Vec::new() };
        let meetings = store.look(&request).await.expect("the store looks");
        let parked_us = meetings[0].parked_us;
        (meetings, parked_us + 1)
    };
    assert_eq!(meetings.len(), 1);
    let since = |since_us| BookmarkRow { since_us: Some(since_us), ..bookmark("k", 7) };
    let waits = |name: &str, since_us| with(group(name, 0), |write| write.bookmarks.add = vec![since(since_us)]);
    apply(&store, vec![waits("later", opened_us), waits("just in time", opened_us - 1)]).await;
    let request = LookRequest { parked: vec![hash("k")], bookmarks: Vec::new(), kept: Vec::new() };
    for meetings in [
        store.look(&request).await.expect("the store looks"),
        store.sweep(None, 100).await.expect("the store sweeps").0,
    ] {
        let mut who: Vec<_> = meetings.iter().map(|meeting| meeting.instance).collect();
        let mut expected = vec![id("old"), id("just in time")];
        who.sort_unstable();
        expected.sort_unstable();
        assert_eq!(who, expected);
    }
}

/// The same event under the same key has one row, whose time and content stay as they were.
pub async fn parking_twice_is_parking_once(store: Shared) {
    let again = NewParked { event: "changed".into(), ..parked("e", "k") };
    apply(&store, vec![Group { park: vec![parked("e", "k")], ..Group::default() }]).await;
    apply(&store, vec![Group { park: vec![again.clone(), parked("f", "k")], ..Group::default() }]).await;
    apply(
        &store,
        vec![Group { park: vec![again.clone()], ..Group::default() }, Group { park: vec![again], ..Group::default() }],
    )
    .await;
    let mut events: Vec<_> = store
        .parked_of_type("com.example.early", 0)
        .await
        .expect("the store lists parked events")
        .into_iter()
        .map(|event| event.event)
        .collect();
    events.sort_unstable();
    assert_eq!(events, ["event e", "event f"]);
}

/// The sweep goes through all parked rows in pages, whether they meet anybody or not, and then says that it is through.
pub async fn the_sweep_goes_through_in_pages(store: Shared) {
    let names: Vec<String> = (0..25).map(|n| format!("e{n}")).collect();
    apply(&store, names.iter().map(|name| parking(name, name)).collect()).await;
    let waits = |name: &String| with(group(name, 0), |write| write.bookmarks.add = vec![bookmark(name, 1)]);
    apply(&store, names.iter().step_by(3).map(waits).collect()).await;
    let (mut after, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        let (meetings, next) = store.sweep(after, 10).await.expect("the store sweeps");
        found.extend(meetings.into_iter().map(|meeting| meeting.instance));
        pages += 1;
        assert!(pages <= 4, "the sweep does not end");
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut expected: Vec<_> = names.iter().step_by(3).map(|name| id(name)).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Promise 5: an event that nobody claimed in time is reported, once, and nobody can claim it any more.
pub async fn expired_events_become_dead_letters_once(store: Shared) {
    let expired = |name: &str, expires_us| NewParked { expires_us, ..parked(name, name) };
    let park = vec![expired("e1", 1), expired("e2", 2), expired("e3", 3), parked("fresh", "fresh")];
    apply(&store, vec![Group { park, ..Group::default() }, group("late", 0)]).await;
    let expire = |limit| {
        let store = store.clone();
        async move {
            store
                .expire_parked("com.example.kept.", "FS-EVENT-EXPIRED", "nobody waited for it", limit)
                .await
                .expect("the store expires")
        }
    };
    assert_eq!(expire(2).await, 2, "at most the limit");
    assert_eq!(expire(100).await, 1);
    assert_eq!(expire(100).await, 0);
    let letters = store.list_dead_letters(&Default::default()).await.expect("the store lists letters");
    let mut bodies: Vec<_> = letters.iter().map(|letter| letter.body.clone()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["event e1", "event e2", "event e3"]);
    assert!(letters.iter().all(|letter| letter.code == "FS-EVENT-EXPIRED" && letter.reason == "nobody waited for it"));
    assert!(letters.iter().all(|letter| letter.at_us > 0 && letter.origin.contains("com.example.early")));
    let late = Group { claims: vec![hash("parked e1")], ..group("late", 1) };
    assert_eq!(commit_one(&store, late).await, Verdict::Gone);
    let kept = store.parked_of_type("com.example.early", 0).await.expect("the store lists parked events");
    assert_eq!(kept.len(), 1);
    store.beat(worker(1), LONG_US).await.expect("the store answers a beat");
    let published = drain(&store, worker(1), 100).await;
    let letters: Vec<_> = published.iter().filter(|row| row.revision == 0).collect();
    assert_eq!(letters.len(), 3, "each letter goes to the bus once");
}

/// What somebody else must say something of is not expired by the way: it is listed, and stays until it is claimed.
pub async fn what_others_report_expires_only_when_they_claim_it(store: Shared) {
    let event_type = "com.example.kept.order".to_owned();
    let kept = |name: &str, expires_us| NewParked { expires_us, event_type: event_type.clone(), ..parked(name, name) };
    let old = NewParked { expires_us: 1, ..parked("old", "old") };
    let park = vec![kept("k2", 2), kept("k1", 1), kept("fresh", i64::MAX), old];
    apply(&store, vec![Group { park, ..Group::default() }]).await;
    let expire = async || store.expire_parked("com.example.kept.", "FS-TEST", "nobody", 10).await;
    assert_eq!(expire().await.expect("the store expires"), 1, "only the one of another type");
    let expired = async |limit| store.expired("com.example.kept.", limit).await.expect("the store lists what expired");
    let found = expired(10).await;
    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [hash("parked k1"), hash("parked k2")]);
    assert_eq!(expired(1).await.len(), 1);
    let claims = Group { claims: vec![found[0].id], dead: vec![letter("k1")], ..Group::default() };
    assert_eq!(commit_one(&store, claims.clone()).await, Verdict::Applied);
    assert_eq!(commit_one(&store, claims).await, Verdict::Gone);
    assert_eq!(expired(10).await.len(), 1);
    assert_eq!(store.list_dead_letters(&Default::default()).await.expect("the store lists letters").len(), 2);
}

/// Promise 5 reports an event that matched nothing. One that had a target under another key, when it came or when one of
/// its parked rows was claimed, is no loss: its rows go without a letter, however many they are.
pub async fn promise_5_an_event_that_somebody_heard_expires_without_a_letter(store: Shared) {
    let expired = |name: &str, message: &str| NewParked { expires_us: 1, message: hash(message), ..parked(name, name) };
    let heard_at_once =
        (0..5).map(|n| NewParked { matched: true, ..expired(&format!("m{n}"), &format!("at once {n}")) });
    let siblings = ["s1", "s2", "s3"].map(|name| expired(name, "claimed later"));
    let strangers = ["u1", "u2", "u3"].map(|name| expired(name, "heard by nobody"));
    let park = heard_at_once.chain(siblings).chain(strangers).collect();
    apply(&store, vec![Group { park, ..Group::default() }, group("a", 0), group("b", 0)]).await;

    let takes = |name: &str, at, row: &str| Group { claims: vec![hash(&format!("parked {row}"))], ..group(name, at) };
    let verdicts = commit(&store, vec![takes("a", 1, "s1"), takes("b", 7, "u1")]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Conflict], "a claim that fails marks nothing");
    let kept = store.parked_of_type("com.example.early", 0).await.expect("the store lists parked events");
    let matched = |name: &str| kept.iter().find(|row| row.key == hash(name)).map(|row| row.matched);
    assert_eq!(["s1", "s2", "s3"].map(matched), [None, Some(true), Some(true)]);
    assert_eq!(["u1", "u2", "m0"].map(matched), [Some(false), Some(false), Some(true)]);
    assert_eq!(commit_one(&store, takes("b", 1, "s2")).await, Verdict::Applied, "what is matched can still be heard");

    let expire = async |limit| {
        store.expire_parked("com.example.kept.", "FS-TEST", "nobody", limit).await.expect("the store expires")
    };
    assert_eq!(expire(2).await, 2, "those without a letter take up none of the limit");
    assert_eq!(expire(2).await, 1);
    let letters = store.list_dead_letters(&Default::default()).await.expect("the store lists letters");
    let mut bodies: Vec<_> = letters.iter().map(|letter| letter.body.clone()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["event u1", "event u2", "event u3"]);
    assert_eq!(store.parked_of_type("com.example.early", 0).await.expect("the store lists parked events"), []);
}

/// Promise 8: 3,000 events under one key are never in memory at once; looking again after claiming delivers them all, the
/// oldest first. What the wait is too late for is not in the way, nor is another key's event behind the crowd.
pub async fn promise_8_a_crowd_under_one_key_comes_in_bounded_looks_and_wholly(store: Shared) {
    const CROWD: usize = 3_000;
    let crowd = |from: usize, to: usize| -> Vec<Group> {
        (from..to).map(|n| Group { park: vec![parked(&format!("e{n}"), "crowd")], ..Group::default() }).collect()
    };
    for n in 0..2 {
        apply(
            &store,
            vec![Group {
                park: (0..MEETINGS_MAX).map(|e| parked(&format!("old {n}.{e}"), "crowd")).collect(),
                ..Group::default()
            }],
        )
        .await;
    }
    let opened_us = load(&store, &[]).await.now_us + 1;
    while load(&store, &[]).await.now_us <= opened_us {
        tokio::task::yield_now().await;
    }
    for from in (0..CROWD).step_by(500) {
        apply(&store, crowd(from, from + 500)).await;
    }
    let since = BookmarkRow { since_us: Some(opened_us), ..bookmark("crowd", 1) };
    apply(&store, vec![with(group("a", 0), |write| write.bookmarks.add = vec![since])]).await;
    apply(&store, vec![with(group("b", 0), |write| write.bookmarks.add = vec![bookmark("lonely", 1)])]).await;
    apply(&store, vec![Group { park: vec![parked("last", "lonely")], ..Group::default() }]).await;

    let both = LookRequest { parked: vec![hash("lonely")], bookmarks: vec![hash("crowd")], kept: Vec::new() };
    let meetings = store.look(&both).await.expect("the store looks");
    assert!(meetings.len() <= MEETINGS_MAX && meetings.iter().any(|meeting| meeting.instance == id("b")));

    let request = LookRequest { parked: Vec::new(), bookmarks: vec![hash("crowd")], kept: Vec::new() };
    let (mut heard, mut looks, mut last_us) = (std::collections::BTreeSet::new(), 0, opened_us);
    loop {
        let meetings = store.look(&request).await.expect("the store looks");
        if meetings.is_empty() {
            break;
        }
        looks += 1;
        assert!(meetings.len() <= MEETINGS_MAX, "{} meetings at once", meetings.len());
        for meeting in &meetings {
            assert!(meeting.parked_us >= last_us, "the oldest first");
            last_us = meeting.parked_us;
            assert!(heard.insert(meeting.parked), "delivered twice");
        }
        // The instance goes on waiting under the same key.
        let claims = meetings.iter().map(|meeting| meeting.parked).collect();
        assert_eq!(commit_one(&store, Group { claims, ..group("a", looks) }).await, Verdict::Applied);
    }
    assert_eq!((heard.len(), looks), (CROWD, 3));
}
