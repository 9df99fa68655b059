//! Large values are stored once (D19), and what shares data is written once.

use flagstop_engine::{Instance, SnapshotError};
use serde_json::json;

use crate::driver::{World, answer, event};

const KIB: usize = 1 << 10;

/// About a megabyte in a thousand parts, none of them large.
fn megabyte() -> serde_json::Value {
    json!((0..1_000).map(|n| json!({ "n": n, "text": format!("{n}").repeat(300) })).collect::<Vec<_>>())
}

#[test]
fn a_loop_of_calls_over_a_megabyte_writes_it_once() {
    let mut world = World::new(
        "do: [ { a: { for: { in: '[range(50)]' }, do: [ { b: { call: http, with: { method: get, endpoint: 'https://a.example' }, output: { as: '$input' } } } ] } } ]",
    );
    world.start(json!({ "data": megabyte(), "n": 1 }));
    let (mut snapshots, mut new) = (0, 0);
    for _ in 0..50 {
        let snapshot = world.instance.encode_split(32 * KIB);
        snapshots += snapshot.bytes.len();
        for large in &snapshot.large {
            if let Some(bytes) = &large.bytes {
                new += bytes.len();
                world.stored.insert(large.hash, bytes.clone());
            }
        }
        let stored = world.stored.clone();
        world.instance =
            Instance::decode_split(&world.plan, &snapshot.bytes, &mut |hash| stored.get(&hash).cloned()).unwrap();
        world.apply_quickly(flagstop_engine::api::Stimulus::Effect {
            slot: world.instance.projection(&world.plan).effects[0].0,
            outcome: answer(200, "application/json", "{}"),
        });
    }
    assert_eq!(world.output()["data"], megabyte());
    assert!(new < 2_000 * KIB, "{new} bytes of large values");
    assert!(snapshots < 50 * KIB, "{snapshots} bytes of snapshots");
}

/// Writes the instance as a store does, and reads it again. Gives the bytes of the snapshot and of the new large values.
fn stored_and_read(world: &mut World) -> (usize, usize) {
    let snapshot = world.instance.encode_split(32 * KIB);
    let mut new = 0;
    for large in &snapshot.large {
        if let Some(bytes) = &large.bytes {
            new += bytes.len();
            assert_eq!(world.stored.insert(large.hash, bytes.clone()), None, "it was stored before");
        }
    }
    let stored = world.stored.clone();
    world.instance =
        Instance::decode_split(&world.plan, &snapshot.bytes, &mut |hash| stored.get(&hash).cloned()).unwrap();
    (snapshot.bytes.len(), new)
}

#[test]
fn a_listen_of_many_events_writes_each_about_once() {
    const EVENTS: usize = 600;
    for (until, foreach) in [
        ("until: 'length == 600'", ""),
        ("until: '$context.n == 600'", ", foreach: { export: { as: '{ n: ($context.n + 1) }' } }"),
    ] {
        let mut world = World::new(&format!(
            "do: [ {{ a: {{ listen: {{ to: {{ any: [ {{ with: {{ type: t }} }} ], {until} }} }}{foreach} }} }} ]"
        ));
        world.start(json!({}));
        let data = |n: usize| json!({ "n": n, "text": format!("{n}").repeat(100) });
        let (mut snapshots, mut new) = (0, 0);
        for n in 0..EVENTS {
            let slot = world.instance.projection(&world.plan).bookmarks[0].slot;
            world.try_event(slot, event("t", &n.to_string(), data(n))).unwrap();
            let (snapshot, large) = stored_and_read(&mut world);
            (snapshots, new) = (snapshots + snapshot, new + large);
        }
        assert_eq!(world.output(), json!((0..EVENTS).map(data).collect::<Vec<_>>()));
        let content = world.output().to_string().len();
        assert!(new < 4 * content, "{new} bytes of large values for {content} bytes");
        assert!(snapshots < EVENTS * 20 * KIB, "{snapshots} bytes of snapshots");
    }
}

#[test]
fn what_was_heard_long_ago_is_not_written_again() {
    const EVENTS: usize = 1_500;
    let mut world = World::new("do: [ { again: { listen: { to: { one: { with: { type: t } } } }, then: again } } ]");
    world.start(json!({}));
    let hear = |world: &mut World, n: usize| {
        let slot = world.instance.projection(&world.plan).bookmarks[0].slot;
        world.try_event(slot, event("t", &n.to_string(), json!(null)))
    };
    let mut new = 0;
    for n in 0..EVENTS {
        hear(&mut world, n).unwrap();
        let (snapshot, large) = stored_and_read(&mut world);
        assert!(snapshot < 5 * KIB, "{snapshot} bytes");
        new += large;
    }
    assert!(new < 17 * EVENTS, "{new} bytes of large values");
    for n in [0, 1, 255, 256, 700, EVENTS - 1] {
        assert_eq!(hear(&mut world, n), Err(flagstop_engine::api::Rejected::Heard), "{n}");
    }
    let whole = Instance::decode(&world.plan, &world.instance.encode()).unwrap();
    assert_eq!(whole.encode(), world.instance.encode(), "and in one piece it is the same");
}

#[test]
fn what_is_large_is_taken_out_where_it_is_not_what_holds_it() {
    let mut world = World::new("do: [ { a: { wait: PT1H } } ]");
    world.start(json!({ "small": 1, "text": "x".repeat(40 * KIB), "list": vec!["y".repeat(35 * KIB); 3], "deep": { "deeper": megabyte() } }));
    let snapshot = world.instance.encode_split(32 * KIB);
    let mut sizes: Vec<usize> = snapshot.large.iter().map(|large| large.bytes.as_ref().unwrap().len() / KIB).collect();
    sizes.sort_unstable();
    assert_eq!(sizes[..2], [35, 40], "the same text three times is one value");
    assert_eq!(sizes.len(), 3);
    assert!(snapshot.bytes.len() < KIB);
    assert_eq!(Instance::large_values(&snapshot.bytes).unwrap().len(), 3);
    let bytes = |hash| snapshot.large.iter().find(|large| large.hash == hash).and_then(|large| large.bytes.clone());
    let read = Instance::decode_split(&world.plan, &snapshot.bytes, &mut |hash| bytes(hash)).unwrap();
    assert_eq!(read.input(), world.instance.input());
    assert!(read.encode().len() > 900 * KIB, "and in one piece it is whole again");
}

#[test]
fn large_values_within_large_values_are_all_listed() {
    let mut world = World::new("do: [ { a: { wait: PT1H } } ]");
    let parts: Vec<_> = (0..40).map(|n| json!(format!("{n:04}").repeat(10 * KIB))).collect();
    world.start(json!({ "parts": parts, "more": (0..3_000).map(|n| format!("text {n}")).collect::<Vec<_>>() }));
    let snapshot = world.instance.encode_split(256);
    assert!(snapshot.bytes.len() < 2 * KIB);
    let stored: std::collections::HashMap<_, _> =
        snapshot.large.iter().map(|large| (large.hash, large.bytes.clone().unwrap())).collect();
    let read = Instance::decode_split(&world.plan, &snapshot.bytes, &mut |hash| stored.get(&hash).cloned()).unwrap();
    assert_eq!(read.input(), world.instance.input());
    let again = read.encode_split(256);
    assert_eq!(again.large.len(), snapshot.large.len());
    assert!(again.large.iter().all(|large| large.bytes.is_none()), "all of it is stored already");
}

#[test]
fn a_large_value_that_is_missing_or_broken_is_seen() {
    let mut world = World::new("do: [ { a: { wait: PT1H } } ]");
    world.start(json!({ "data": megabyte() }));
    let snapshot = world.instance.encode_split(32 * KIB);
    let missing = Instance::decode_split(&world.plan, &snapshot.bytes, &mut |_| None).unwrap_err();
    assert!(matches!(missing, SnapshotError::Corrupt(_)));
    assert!(matches!(Instance::decode(&world.plan, &snapshot.bytes), Err(SnapshotError::Corrupt(_))));
    for bytes in [&b""[..], &[11; 40], &[8, 255, 255, 255, 255, 15], &[6, 1, 255]] {
        let broken = Instance::decode_split(&world.plan, &snapshot.bytes, &mut |_| Some(bytes.to_vec().into()));
        assert!(matches!(broken.unwrap_err(), SnapshotError::Corrupt(_)));
    }
}

#[test]
fn a_waiting_onboarding_takes_little_more_than_its_data() {
    let text =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/onboarding/onboarding.yaml")).unwrap();
    let limits = flagstop_engine::Limits::default();
    let plan = flagstop_engine::Plan::compile(&text, &limits).unwrap();
    let mut world = World::new("do: []");
    world.instance = Instance::new(world.instance.id(), &plan);
    world.plan = plan;
    let person = json!({ "employeeId": "e-1", "firstName": "Ada", "lastName": "Lovelace" });
    let data = json!([{ "specversion": "1.0", "id": "1", "source": "/hr", "type": "com.example.employee.hired", "data": person }]);
    let mut world = world.secret("hr", json!({ "url": "https://hr.example", "token": "t" }));
    world.start(data.clone());
    world.answer_at("/do/1/register/try/0/createAccount", answer(200, "application/json", "{\"accountId\":\"a-1\"}"));
    assert_eq!(world.instance.phase(), flagstop_engine::api::Phase::Waiting, "{:?}", world.instance.error());
    let beyond = world.instance.encode().len() - data.to_string().len();
    assert!(beyond < KIB, "{beyond} bytes beyond the data");
}
