//! `retry` of a faulted instance: it goes on where it faulted.

use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_schemas::StatusKind;
use serde_json::json;

use crate::driver::{SECOND_US, World, answer, assert_has, both_ways, event, problem};

#[test]
fn only_a_faulted_instance_can_be_retried() {
    let mut world = World::new("do: [ { a: { wait: PT1S } } ]");
    assert!(matches!(world.apply(Stimulus::Retry), Err(Rejected::Illegal(_))));
    world.start(json!({}));
    assert!(matches!(world.apply(Stimulus::Retry), Err(Rejected::Illegal(_))));
    world.apply(Stimulus::Suspend).unwrap();
    assert!(matches!(world.apply(Stimulus::Retry), Err(Rejected::Illegal(_))));
    world.apply(Stimulus::Cancel).unwrap();
    assert_eq!(world.apply(Stimulus::Retry), Err(Rejected::Ended));
}

#[test]
fn it_goes_on_at_the_faulted_task_with_its_input_context_and_round() {
    both_ways(|kill| {
        let mut world = World::new(
            "
do:
  - before: { set: { log: [] }, export: { as: '{ mark: 1 }' } }
  - loop:
      for: { in: '[1, 2, 3]' }
      do:
        - note: { set: { log: '${ .log + [$item] }' } }
        - ask: { call: http, with: { method: get, endpoint: 'https://a.example' }, output: { as: '$input + { mark: $context.mark }' } }
",
        )
        .killed(kill);
        world.start(json!({}));
        let ask = "/do/1/loop/do/1/ask";
        world.answer_at(ask, answer(200, "application/json", "{}"));
        world.answer_at(ask, answer(503, "text/plain", ""));
        assert_has(&world.error(), &problem("communication", 503, ask));
        let told = world.story().len();
        world.apply(Stimulus::Retry).unwrap();
        assert_eq!(world.instance.phase(), Phase::Running);
        assert!(world.instance.error().is_none());
        assert_eq!(
            world.story()[told..],
            ["resumed", "task.resumed /do/1/loop", &format!("task.created {ask}"), &format!("task.started {ask}")]
        );
        world.answer_at(ask, answer(200, "application/json", "{}"));
        world.answer_at(ask, answer(200, "application/json", "{}"));
        assert_eq!(world.output(), json!({ "log": [1, 2, 3], "mark": 1 }));
        let runs: Vec<_> =
            world.requests.iter().map(|effect| effect.idempotency_key.rsplit_once(':').unwrap().1).collect();
        assert_eq!(runs, ["0.0", "1.0", "1.1", "2.0"]);
    });
}

#[test]
fn a_call_that_got_no_answer_keeps_its_key_over_a_retry() {
    both_ways(|kill| {
        let mut world =
            World::new("do: [ { a: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ]")
                .killed(kill);
        world.start(json!({}));
        world.answer_at("/do/0/a", flagstop_engine::api::EffectOutcome::NoAnswer { reason: "lost".into() });
        world.apply(Stimulus::Retry).unwrap();
        assert_eq!(world.requests[0].idempotency_key, world.requests[1].idempotency_key);
    });
}

#[test]
fn siblings_of_the_faulted_branch_wait_and_call_as_before() {
    both_ways(|kill| {
        let mut world = World::new(
            "
do:
  - f:
      fork:
        branches:
          - done: { set: { x: 1 }, export: { as: '{ done: 1 }' } }
          - calls: { do: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ] }
          - hears: { listen: { to: { one: { with: { type: t } } } } }
          - fails: { call: http, with: { method: get, endpoint: 'https://b.example' } }
",
        )
        .killed(kill);
        world.start(json!({}));
        let before = world.instance.projection(&world.plan);
        world.answer_at("/do/0/f/fork/branches/3/fails", answer(500, "text/plain", ""));
        assert_eq!(world.instance.phase(), Phase::Faulted);
        assert!(world.in_flight.is_empty());
        world.apply(Stimulus::Retry).unwrap();
        assert_eq!(world.instance.projection(&world.plan).bookmarks, before.bookmarks);
        assert_eq!(world.in_flight.len(), 2, "the call in flight came out again");
        world.answer_at("/do/0/f/fork/branches/1/calls/do/0/ask", answer(200, "application/json", "1"));
        world.answer_at("/do/0/f/fork/branches/3/fails", answer(200, "application/json", "2"));
        let world = world.hears(event("t", "1", json!(3))).finished();
        assert_eq!(world.output(), json!([{ "x": 1 }, 1, [3], 2]));
        assert_eq!(world.context(), json!({ "done": 1 }));
    });
}

#[test]
fn attempts_and_timeouts_begin_anew() {
    both_ways(|kill| {
        let flow = "
timeout: { after: PT100S }
do:
  - outer:
      timeout: { after: PT20S }
      try: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ]
      catch: { retry: { delay: PT1S, limit: { attempt: { count: 1 } } } }
";
        let mut world =
            World::new(flow).killed(kill).answers(answer(500, "text/plain", "")).answers(answer(500, "text/plain", ""));
        world.start(json!({}));
        world.go_on();
        assert_eq!((world.instance.phase(), world.requests.len()), (Phase::Faulted, 2));
        world.now_us += 1_000 * SECOND_US;
        let now_us = world.now_us;
        world.apply(Stimulus::Retry).unwrap();
        let due: Vec<_> =
            world.instance.projection(&world.plan).timers.iter().map(|timer| timer.due_us - now_us).collect();
        assert_eq!(due, [20 * SECOND_US, 100 * SECOND_US]);
        world = world.answers(answer(500, "text/plain", ""));
        world.go_on();
        assert_eq!(world.instance.phase(), Phase::Running, "one more retry: {:?}", world.instance.error());
        assert_eq!(world.requests.len(), 4);
    });
}

#[test]
fn a_cut_task_begins_anew_as_a_whole() {
    both_ways(|kill| {
        let mut world = World::new(
            "do: [ { outer: { timeout: { after: PT5S }, do: [ { one: { set: { n: 1 } } }, { ask: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ] } } ]",
        )
        .killed(kill);
        world.start(json!({}));
        world.fire();
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/outer"));
        world.apply(Stimulus::Retry).unwrap();
        assert_eq!((world.in_flight.len(), world.completed().len()), (1, 2), "its first task ran again");
        world.answer_at("/do/0/outer/do/1/ask", answer(200, "application/json", "5"));
        assert_eq!(world.output(), json!(5));
    });
}

#[test]
fn a_cut_workflow_goes_on_at_the_task_that_was_cut() {
    both_ways(|kill| {
        let mut world = World::new(
            "timeout: { after: PT5S }\ndo: [ { f: { fork: { branches: [ { a: { wait: PT9S } }, { b: { wait: PT7S } } ] } } } ]",
        )
        .killed(kill);
        world.start(json!(1));
        world.fire();
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/f/fork/branches/0/a"));
        world.apply(Stimulus::Retry).unwrap();
        // The other branch's wait is absolute; the one that was cut begins anew, and with it the workflow's five seconds.
        world.fire();
        assert_eq!(world.completed(), ["/do/0/f/fork/branches/1/b"]);
        world.fire();
        assert_eq!(world.instance.phase(), Phase::Faulted);
    });
}

#[test]
fn an_error_inside_of_a_handler_is_retried_inside_of_it() {
    both_ways(|kill| {
        let mut world = World::new(
            "
do:
  - attempt:
      try: [ { bad: { raise: { error: { type: 'https://example.com/e', status: 1 } } } } ]
      catch: { as: e, do: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example' }, output: { as: '$e.status' } } } ] }
",
        )
        .killed(kill);
        world.start(json!({}));
        let ask = "/do/0/attempt/catch/do/0/ask";
        world.answer_at(ask, answer(500, "text/plain", ""));
        world.apply(Stimulus::Retry).unwrap();
        world.answer_at(ask, answer(200, "application/json", "{}"));
        assert_eq!(world.output(), json!(1));
    });
}

#[test]
fn what_is_wrong_outside_of_tasks_is_tried_again_there() {
    both_ways(|kill| {
        let mut world =
            World::new("output: { as: '$secrets.s' }\nuse: { secrets: [ s ] }\ndo: [ { a: { set: { x: 1 } } } ]")
                .killed(kill);
        world.start(json!({}));
        assert_has(&world.error(), &json!({ "status": 403, "instance": "/output/as" }));
        let mut world = world.secret("s", json!("word"));
        world.apply(Stimulus::Retry).unwrap();
        assert_eq!(world.output(), json!("word"));
        assert_eq!(world.completed().len(), 1, "the task itself did not run again");

        let mut world =
            World::new("input: { from: '$secrets.s' }\nuse: { secrets: [ s ] }\ndo: [ { a: { set: '${ . }' } } ]")
                .killed(kill);
        world.start(json!({}));
        assert_has(&world.error(), &json!({ "status": 403, "instance": "/input/from" }));
        let mut world = world.secret("s", json!("word"));
        world.apply(Stimulus::Retry).unwrap();
        assert_eq!(world.output(), json!("word"));
        assert_eq!(world.told(StatusKind::WorkflowStarted).len(), 1);
    });
}

#[test]
fn an_instance_can_be_retried_again_and_again() {
    both_ways(|kill| {
        let mut world = World::new(
            "do: [ { a: { do: [ { b: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ] } } ]",
        )
        .killed(kill);
        world.start(json!({}));
        let first = world.instance.encode().len();
        for _ in 0..20 {
            world.answer_at("/do/0/a/do/0/b", answer(500, "text/plain", ""));
            world.apply(Stimulus::Retry).unwrap();
        }
        assert!(world.instance.encode().len() < first + 32);
        world.answer_at("/do/0/a/do/0/b", answer(200, "application/json", "5"));
        assert_eq!(world.output(), json!(5));
    });
}

#[test]
fn what_runs_again_says_so_in_each_of_its_status_events_also_after_a_crash() {
    both_ways(|kill| {
        let mut world = World::new("do: [ { a: { set: { b: 1 } } }, { c: { wait: PT1S } } ]").killed(kill);
        let ended = flagstop_schemas::InstanceId(uuid::Uuid::from_u128(7));
        world.instance = world.instance.clone().rerunning(ended);
        world.start(json!({}));
        world.apply(Stimulus::Cancel).unwrap();
        let events: Vec<_> = world.statuses().collect();
        assert!(events.len() >= 5);
        for event in events {
            assert!(event.attributes.contains(&("rerunof", json!(ended.to_string()))), "{event:?}");
        }
    });
}
