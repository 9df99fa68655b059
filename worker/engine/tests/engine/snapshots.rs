//! Snapshots: what is read back is what was written, damage is seen, a newer format is handed back.

use flagstop_engine::{Instance, Plan, SnapshotError};
use serde_json::json;

use crate::driver::{World, definition, event};

const DEFINITION: &str = "
do:
  - keep: { set: { big: '${ . }', ints: '${ [-1, 0, 9007199254740993, 18446744073709551615] }', floats: '${ [0.5, -1e300] }' }, export: { as: . } }
  - attempt:
      try:
        - fail: { raise: { error: { type: 'https://example.com/e', status: 500 } } }
      catch:
        do:
          - listen: { listen: { to: { one: { with: { type: t }, correlate: { k: { from: .data.k, expect: '${ .big.k }' } } } } } }
";

fn waiting() -> World {
    let mut world = World::new(DEFINITION);
    world.start(json!({ "k": "é\u{0}\"", "text": "a text that is long enough to be shared between places", "nested": [[{ "a": null }], true] }));
    world
}

#[test]
fn an_instance_read_back_is_the_same_in_every_respect() {
    let world = waiting();
    let bytes = world.instance.encode();
    let read = Instance::decode(&world.plan, &bytes).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", world.instance));
    assert_eq!(read.encode(), bytes);
    assert_eq!(read.projection(&world.plan), world.instance.projection(&world.plan));
}

#[test]
fn a_value_that_several_places_share_is_written_once() {
    let text = "x".repeat(10_000);
    let mut world = World::new(
        "do: [ { a: { set: { copy: '${ . }' }, export: { as: . } } }, { b: { do: [ { c: { wait: PT1H } } ] } } ]",
    );
    world.start(json!({ "text": text, "list": vec![7; 5_000] }));
    let len = world.instance.encode().len();
    assert!(len < 25_000, "{len} bytes");
}

#[test]
fn a_snapshot_of_an_earlier_build_is_still_read() {
    let world = waiting();
    let golden = include_str!("format_2.golden.hex").trim();
    let hex: String = world.instance.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    if std::env::var_os("FLAGSTOP_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/format_2.golden.hex"), hex).unwrap();
        return;
    }
    let bytes: Vec<u8> =
        (0..golden.len()).step_by(2).map(|at| u8::from_str_radix(&golden[at..at + 2], 16).unwrap()).collect();
    let read = Instance::decode(&world.plan, &bytes)
        .expect("format 2 stays readable: write a new format instead of changing it");
    assert_eq!(format!("{read:?}"), format!("{:?}", world.instance));
}

#[test]
fn every_flipped_byte_is_seen() {
    let world = waiting();
    let bytes = world.instance.encode();
    for index in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            let mut damaged = bytes.to_vec();
            damaged[index] ^= flip;
            let error = Instance::decode(&world.plan, &damaged).expect_err("damage must be seen");
            assert!(matches!(error, SnapshotError::Corrupt(_)), "byte {index}: {error}");
        }
    }
    for len in 0..bytes.len() {
        Instance::decode(&world.plan, &bytes[..len]).expect_err("a part is no snapshot");
    }
}

#[test]
fn a_newer_format_is_handed_back() {
    let world = waiting();
    let mut bytes = world.instance.encode().to_vec();
    bytes[..2].copy_from_slice(&7_u16.to_be_bytes());
    let sum = bytes[..2]
        .iter()
        .chain(&bytes[10..])
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    bytes[2..10].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(Instance::decode(&world.plan, &bytes).unwrap_err(), SnapshotError::Newer { format: 7 });
}

#[test]
fn a_snapshot_of_another_definition_is_refused() {
    let world = waiting();
    let other = Plan::compile(definition("do: []").as_bytes(), &world.limits).unwrap();
    assert!(matches!(Instance::decode(&other, &world.instance.encode()), Err(SnapshotError::Corrupt(_))));
}

#[test]
fn ended_instances_keep_their_output_and_error() {
    let world = World::new(DEFINITION).hears(event("t", "1", json!({ "k": 5 }))).run(json!({ "k": 5 }));
    let read = Instance::decode(&world.plan, &world.instance.encode()).unwrap();
    assert_eq!(
        read.output().map(|output| output.to_string()),
        world.instance.output().map(|output| output.to_string())
    );
    let faulted =
        World::new("do: [ { a: { raise: { error: { type: 'https://example.com/e', status: 1 } } } } ]").run(json!({}));
    let read = Instance::decode(&faulted.plan, &faulted.instance.encode()).unwrap();
    assert_eq!(read.error(), faulted.instance.error());
}
