//! Bytes, and data that a database refuses (PROTOCOL D20); definitions (D5, D6).

use bytes::Bytes;

use super::fixtures::*;
use crate::port::{Group, StoreError, Verdict};
use crate::rows::DefinitionRow;

/// Bytes that trouble text: NUL, an escaped NUL, half of a surrogate pair, no UTF-8 at all.
const TROUBLE: &[u8] = b"{\"a\":\"\\u0000\\ud800\",\"b\":\"\x00\"}\xff\xfe'\\";

/// D20: states, events, stimuli, parked events and letters come back byte for byte, empty and large ones too.
pub async fn d20_bytes_come_back_as_they_went_in(store: Shared) {
    let trouble = Bytes::from_static(TROUBLE);
    let large = Bytes::from((0..3_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let mut early = parked("e", "k");
    early.event = trouble.clone();
    let mut dead = letter("l");
    (dead.body, dead.headers, dead.content_type) = (trouble.clone(), Bytes::new(), None);
    let mut post = mail("a", "");
    post.stimulus = trouble.clone();
    let first = with(group("a", 0), |write| {
        (write.state, write.events) = (trouble.clone(), trouble.clone());
        write.business_key = Some("Größe 木 \u{1F600} '\\\"{},".to_owned());
        write.bookmarks.add = vec![bookmark("k", 1)];
    });
    let first = Group { park: vec![early], dead: vec![dead.clone()], post: vec![post], ..first };
    let second = with(group("b", 0), |write| (write.state, write.events) = (large.clone(), Bytes::new()));
    apply(&store, vec![first, second]).await;

    let loaded = load(&store, &["a", "b"]).await;
    let state = |name| loaded.instances.iter().find(|row| row.id == id(name)).map(|row| row.state.clone());
    assert_eq!(state("a"), Some(trouble.clone()));
    assert!(state("b") == Some(large), "a state of 3 MB");
    assert_eq!(loaded.mail[0].stimulus, trouble);
    assert_eq!(history(&store, "a").await[0].events, trouble);
    assert_eq!(history(&store, "b").await[0].events, Bytes::new());
    let (meetings, _) = store.sweep(None, 10).await.expect("the store sweeps");
    assert_eq!(meetings[0].event, trouble);
    let found = store.dead_letters(&[dead.id]).await.expect("the store gives letters").remove(0);
    dead.at_us = found.at_us;
    assert_eq!(found, dead);
    let summary = store.instance(id("a")).await.expect("the store gives an instance").expect("it is there");
    assert_eq!(summary.business_key.as_deref(), Some("Größe 木 \u{1F600} '\\\"{},"));
}

/// A transition that no database can keep: its business key holds a NUL.
fn culprit(name: &str) -> Group {
    with(hearing(name, 0, &[&format!("{name}'s message")]), |write| write.business_key = Some("a\0b".to_owned()))
}

/// D20: the group that holds it fails with a reason; it leaves no trace, and its batch's others are written.
pub async fn d20_data_that_cannot_be_stored_fails_alone(store: Shared) {
    apply(&store, vec![group("moved", 0)]).await;
    let groups =
        vec![hearing("a", 0, &["m1"]), group("moved", 7), culprit("bad"), hearing("b", 0, &["m2"]), group("c", 0)];
    let verdicts = commit(&store, groups).await;
    let Verdict::Failed(reason) = &verdicts[2] else { panic!("{:?} is no Failed", verdicts[2]) };
    assert!(!reason.is_empty());
    assert_eq!((&verdicts[0], &verdicts[1]), (&Verdict::Applied, &Verdict::Conflict));
    assert_eq!((&verdicts[3], &verdicts[4]), (&Verdict::Applied, &Verdict::Applied));
    assert_eq!(revision(&store, "bad").await, 0);
    assert!(!seen(&store, "bad's message").await);
    assert!(history(&store, "bad").await.is_empty());
    for name in ["a", "b", "c"] {
        assert_eq!((revision(&store, name).await, history(&store, name).await.len()), (1, 1), "{name}");
    }
    assert!(matches!(commit_one(&store, culprit("bad")).await, Verdict::Failed(_)), "also when it is alone");
}

/// D20: each text of the port is guarded, several culprits in one batch are all found, wherever they stand.
pub async fn d20_several_culprits_fail_and_all_others_pass(store: Shared) {
    let nul = || "x\0y".to_owned();
    let groups: Vec<Group> = (0..33)
        .map(|n| {
            let mut group = group(&format!("i{n}"), 0);
            match n {
                0 => group = culprit("i0"),
                7 => group.dead = vec![crate::rows::DeadLetter { reason: nul(), ..letter("l") }],
                8 => group.park = vec![crate::rows::NewParked { event_type: nul(), ..parked("p", "k") }],
                32 => {
                    group = with(group, |write| {
                        write.effects.add = vec![crate::rows::EffectRow { slot: 1, pointer: nul() }]
                    })
                }
                _ => {}
            }
            group
        })
        .collect();
    for (n, verdict) in commit(&store, groups).await.iter().enumerate() {
        let bad = [0, 7, 8, 32].contains(&n);
        assert_eq!(matches!(verdict, Verdict::Failed(_)), bad, "group {n}: {verdict:?}");
        assert_eq!(*verdict == Verdict::Applied, !bad, "group {n}: {verdict:?}");
        assert_eq!(revision(&store, &format!("i{n}")).await, i32::from(!bad));
    }
}

/// D20: a transition that adds the same effect twice is wrong in itself; its batch is not.
pub async fn d20_an_effect_that_is_added_twice_fails_with_its_group_alone(store: Shared) {
    let twice = with(hearing("twice", 0, &["m"]), |write| write.effects.add = vec![effect(1), effect(2), effect(1)]);
    let once = |name: &str| with(group(name, 0), |write| write.effects.add = vec![effect(1), effect(2)]);
    let verdicts = commit(&store, vec![once("a"), twice, once("b")]).await;
    assert!(matches!(verdicts[1], Verdict::Failed(_)), "{:?}", verdicts[1]);
    assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Applied, &Verdict::Applied));
    assert_eq!(revision(&store, "twice").await, 0);
    assert!(!seen(&store, "m").await);
}

fn definition(name: &str, version: &str, text: &'static str) -> DefinitionRow {
    DefinitionRow {
        number: 0,
        namespace: "tests".to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
        content: hash(text),
        source: Bytes::from_static(text.as_bytes()),
        bundle: Bytes::from(format!("bundle of {text}")),
        deployed_us: 0,
        enabled: true,
    }
}

/// D6: what is deployed stays as it is. D5: only what is new raises the catalogue's version, and `load` shows it.
pub async fn d6_definitions_are_immutable_and_raise_the_catalogue(store: Shared) {
    let catalogue = || async { load(&store, &[]).await.catalogue };
    let before = catalogue().await;
    let two = [definition("onboarding", "1.0.0", "first"), definition("offboarding", "1.0.0", "second")];
    let deployed = store.deploy(&two).await.expect("two definitions are deployed");
    assert!(deployed.iter().all(|row| row.number > 0) && deployed[0].number != deployed[1].number);
    let raised = catalogue().await;
    assert!(raised > before);
    let loaded = load(&store, &[]).await;
    assert!(deployed.iter().all(|row| row.deployed_us > 0 && row.deployed_us <= loaded.now_us), "at the store's time");

    let again = store.deploy(&two).await.expect("deploying the same again is no error");
    assert_eq!(again, deployed);
    assert_eq!(catalogue().await, raised, "nothing new, nothing to reload");

    let mixed = [definition("new", "1.0.0", "third"), definition("onboarding", "1.0.0", "changed")];
    match store.deploy(&mixed).await {
        Err(StoreError::DefinitionConflict { namespace, name, version }) => {
            assert_eq!((namespace.as_str(), name.as_str(), version.as_str()), ("tests", "onboarding", "1.0.0"));
        }
        other => panic!("a changed definition was not refused: {other:?}"),
    }
    assert_eq!(catalogue().await, raised, "all or none");

    let next = store.deploy(&[definition("onboarding", "1.1.0", "changed")]).await.expect("a new version is deployed");
    let (version, all) = store.definitions(0).await.expect("the store lists definitions");
    assert_eq!(version, catalogue().await);
    assert!(version > raised);
    assert_eq!(
        all,
        [deployed[0].clone(), deployed[1].clone(), next[0].clone()],
        "ascending, with their sources and bundles"
    );
    let (_, newer) = store.definitions(deployed[1].number).await.expect("the store lists definitions");
    assert_eq!(newer, next);
    let beat = store.beat(worker(1), LONG_US).await.expect("the store answers a beat");
    assert_eq!(beat.catalogue, version);
}
