//! Long work is cut, endless work is stopped, and what it costs does not grow with what is there.

use flagstop_engine::api::{Phase, Stimulus};
use serde_json::json;

use crate::driver::{World, answer, assert_has, both_ways, problem};

const ENDLESS: &str = "do: [ { a: { set: { n: '${ (.n // 0) + 1 }' }, then: a } } ]";

#[test]
fn a_loop_without_a_wait_is_stopped_by_a_limit_that_the_error_names() {
    both_ways(|kill| {
        for flow in [
            ENDLESS,
            "do: [ { a: { try: [ { b: { set: { n: 1 } } } ], catch: { then: a }, then: a } } ]",
            "do: [ { t: { try: [ { b: { set: { n: 1 } } }, { c: { raise: { error: { type: 'https://example.com/e', status: 1 } } } } ], catch: { then: t } } } ]",
            "do: [ { a: { if: 'false', set: { n: 1 } } }, { b: { switch: [ { x: { then: a } } ] } } ]",
        ] {
            let mut world = World::new(flow).killed(kill);
            world.limits.steps_without_wait_max = 50;
            world.limits.steps_per_apply_max = 20;
            let mut world = world.run(json!({}));
            assert_has(&world.error(), &json!({ "status": 500, "title": "Runtime error" }));
            assert!(world.error()["detail"].as_str().unwrap().contains("steps_without_wait_max"), "{flow}");
            world.apply(Stimulus::Retry).unwrap();
            assert_eq!(world.instance.phase(), Phase::Running, "a retry has new fuel");
        }
    });
}

#[test]
fn a_loop_with_a_wait_may_go_on_for_ever() {
    let mut world = World::new(
        "do: [ { a: { set: { n: '${ (.n // 0) + 1 }' } } }, { b: { wait: PT1S } }, { c: { switch: [ { more: { when: .n < 200, then: a } } ] } } ]",
    );
    world.limits.steps_without_wait_max = 10;
    assert_eq!(world.run(json!({})).output(), json!({ "n": 200 }));
}

#[test]
fn work_is_cut_by_steps_by_events_and_by_bytes() {
    both_ways(|kill| {
        let cut = |limit: &dyn Fn(&mut flagstop_engine::Limits)| {
            let mut world = World::new(
                "do: [ { a: { for: { in: '[range(20)]' }, do: [ { b: { set: { text: '${ \"x\" * 100 }' } } } ] } } ]",
            )
            .killed(kill);
            limit(&mut world.limits);
            world.start(json!({}));
            let first = world.entries.len();
            assert!(world.more && first < 40, "{first} events before the cut");
            let world = world.finished();
            assert_eq!(world.completed().len(), 21);
        };
        cut(&|limits| limits.steps_per_apply_max = 5);
        cut(&|limits| limits.events_per_apply_max = 10);
        cut(&|limits| limits.bytes_per_apply_max = 500);
    });
}

#[test]
fn a_million_rounds_are_no_trouble() {
    let mut world = World::new("do: [ { a: { for: { in: '[range(.n)]' }, do: [ { b: { set: '${ $index }' } } ] } } ]");
    world.limits.expression_steps_max = 100_000_000;
    world.limits.expression_output_bytes_max = 100 << 20;
    world.apply_quickly(Stimulus::Start {
        input: crate::driver::from_json(&json!({ "n": 100_000 })),
        cause: None,
        depth: 0,
        heard: Vec::new(),
    });
    while world.more {
        world.entries.clear();
        world.apply_quickly(Stimulus::Proceed);
    }
    assert_eq!(world.output(), json!(99_999));
}

#[test]
fn a_fault_of_a_deep_task_tells_of_itself_and_no_more() {
    let mut world = World::new(
        "do: [ { a: { fork: { branches: [ { b: { wait: PT1S } }, { c: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ] } } } ]",
    );
    world.start(json!({}));
    world.answer_at("/do/0/a/fork/branches/1/c", answer(404, "text/plain", ""));
    assert_has(&world.error(), &problem("communication", 404, "/do/0/a/fork/branches/1/c"));
}
