//! `timeout` of tasks and of the workflow.

use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_schemas::StatusKind;
use serde_json::json;

use crate::driver::{SECOND_US, START_US, World, answer, assert_has, both_ways, compile, problem};

#[test]
fn a_timeout_cuts_the_task_and_can_be_caught_outside_of_it() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - attempt:
      try:
        - outer:
            timeout: { after: { seconds: '${ .s }' } }
            try: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ]
            catch: { do: [ { wrong: { set: { wrong: 1 } } } ] }
      catch: { as: e, errors: { with: { status: 408 } }, do: [ { note: { set: '${ $e.instance }' } } ] }
",
        );
        let mut world = world.killed(kill);
        world.start(json!({ "s": 7 }));
        let slot = world.instance.projection(&world.plan).timers[0].slot;
        world.now_us = START_US + 7 * SECOND_US - 1;
        assert_eq!(world.apply(Stimulus::Timer { slot }), Err(Rejected::NotWaiting), "not yet due");
        world.fire();
        assert_eq!(world.output(), json!("/do/0/attempt/try/0/outer"));
        assert_eq!(world.told(StatusKind::TaskCancelled), ["/do/0/attempt/try/0/outer/try/0/ask"]);
        assert_eq!(world.told(StatusKind::TaskFaulted), ["/do/0/attempt/try/0/outer"]);
        assert!(world.in_flight.is_empty());
    });
}

#[test]
fn a_task_that_ends_in_time_is_not_cut() {
    both_ways(|kill| {
        let world = World::new("do: [ { a: { wait: PT1S, timeout: { after: PT2S } } }, { b: { wait: PT5S } } ]");
        assert_eq!(world.killed(kill).run(json!(1)).output(), json!(1));
    });
}

#[test]
fn a_timeout_covers_the_retries() {
    both_ways(|kill| {
        let mut world = World::new(
            "do: [ { a: { timeout: { after: PT5S }, try: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ], catch: { retry: { delay: PT2S, limit: { attempt: { count: 99 } } } } } } ]",
        )
        .killed(kill);
        for _ in 0..9 {
            world = world.answers(answer(500, "text/plain", ""));
        }
        let world = world.run(json!({}));
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/a"));
        assert_eq!(world.requests.len(), 3);
        assert_eq!(world.now_us, START_US + 5 * SECOND_US);
    });
}

#[test]
fn timeouts_are_defined_once_and_used_by_name() {
    both_ways(|kill| {
        let world =
            World::new("use: { timeouts: { short: { after: PT3S } } }\ndo: [ { a: { wait: PT9S, timeout: short } } ]");
        let world = world.killed(kill).run(json!({}));
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/a"));
        assert_eq!(world.error()["detail"], "the task took longer than PT3S");
    });
    for text in [
        "do: [ { a: { wait: PT9S, timeout: short } } ]",
        "do: [ { a: { wait: PT9S, timeout: { in: PT1S } } } ]",
        "timeout: {}\ndo: []",
        "timeout: { after: '${ $context }' }\ndo: []",
    ] {
        compile(text).expect_err(text);
    }
}

#[test]
fn the_workflows_timeout_names_the_innermost_task_that_was_cut() {
    both_ways(|kill| {
        let mut world = World::new(
            "
timeout: { after: { seconds: '${ .s }' } }
do:
  - f:
      fork:
        branches:
          - a: { do: [ { one: { set: { x: 1 } } }, { two: { do: [ { three: { wait: PT1H } } ] } } ] }
          - b: { do: [ { four: { do: [ { five: { do: [ { six: { wait: PT1H } } ] } } ] } } ] }
",
        )
        .killed(kill);
        world.start(json!({ "s": 60 }));
        world.fire();
        assert_eq!(world.now_us, START_US + 60 * SECOND_US);
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/f/fork/branches/0/a/do/1/two/do/0/three"));
        assert_eq!(world.told(StatusKind::TaskCancelled).len(), 8);
        assert_eq!(world.told(StatusKind::TaskFaulted), [""; 0], "nothing inside can catch it");
    });
}

#[test]
fn what_falls_due_while_suspended_fires_afterwards() {
    both_ways(|kill| {
        let mut world = World::new("do: [ { a: { wait: PT1H, timeout: { after: PT5S } } } ]").killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Suspend).unwrap();
        assert!(world.instance.projection(&world.plan).timers.is_empty());
        world.now_us += 60 * SECOND_US;
        world.apply(Stimulus::Continue).unwrap();
        let due: Vec<_> = world.instance.projection(&world.plan).timers.iter().map(|timer| timer.due_us).collect();
        assert_eq!(due[0], START_US + 5 * SECOND_US);
        world.fire();
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/a"));
        assert_eq!(world.now_us, START_US + 60 * SECOND_US);
        assert_eq!(world.instance.phase(), Phase::Faulted);
    });
}
