//! Activation keys: of which instances only one may live.

use flagstop_engine::OnDuplicate;
use flagstop_engine::api::Phase;
use serde_json::{Value, json};

use crate::driver::{Kill, World, assert_has, compile};

fn with(activation: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: test, name: flow, version: '1.2.3', metadata: {{ flagstop: {{ activation: {activation} }} }} }}\ninput: {{ from: .order }}\ndo: [ {{ a: {{ wait: PT1H }} }} ]"
    )
}

fn started(activation: &str, order: &Value) -> World {
    let mut world = World::new(&with(activation)).killed(Kill::AfterEveryApply);
    world.start(json!({ "order": order }));
    world
}

#[test]
fn the_key_is_a_value_of_the_transformed_input_and_null_is_none() {
    let key = |order: Value| started("{ key: .customer }", &order).instance.activation();
    assert_eq!(key(json!({ "customer": 3 })), key(json!({ "customer": 3.0 })));
    assert_eq!(key(json!({ "customer": { "a": 1, "b": 2 } })), key(json!({ "customer": { "b": 2, "a": 1 } })));
    assert_ne!(key(json!({ "customer": 3 })), key(json!({ "customer": "3" })));
    assert!(key(json!({ "customer": 3 })).is_some());
    assert_eq!(key(json!({})), None);
    assert_eq!(World::new("do: [ { a: { wait: PT1H } } ]").run(json!({})).instance.activation(), None);
}

#[test]
fn a_key_that_can_not_be_computed_is_a_fault_and_not_a_second_instance() {
    let world = started("{ key: '.customer | error' }", &json!({ "customer": "x" }));
    assert_eq!(world.instance.phase(), Phase::Faulted);
    assert_has(&world.error(), &json!({ "instance": "/document/metadata/flagstop/activation/key" }));
}

#[test]
fn what_becomes_of_duplicates_is_part_of_the_definition() {
    let on_duplicate = |activation: &str| compile(&with(activation)).unwrap().on_duplicate();
    assert_eq!(on_duplicate("{ key: .a }"), Some(OnDuplicate::DeadLetter));
    assert_eq!(on_duplicate("{ key: .a, onDuplicate: deadLetter }"), Some(OnDuplicate::DeadLetter));
    assert_eq!(on_duplicate("{ key: .a, onDuplicate: drop }"), Some(OnDuplicate::Drop));
    for (wrong, code) in [
        ("{ key: .a, onDuplicate: dorp }", "FS-VALUE"),
        ("{ onDuplicate: drop }", "FS-MISSING-KEY"),
        ("{ key: .a, more: 1 }", "FS-UNKNOWN-KEY"),
        (".a", "FS-WRONG-TYPE"),
    ] {
        let found = compile(&with(wrong)).expect_err(wrong);
        assert!(found.iter().any(|found| found.code == code), "{wrong}: {found}");
    }
}
