//! Suspended instances: nothing is begun, nothing that comes is lost.

use flagstop_engine::api::{EffectOutcome, Phase, Rejected, Stimulus};
use flagstop_schemas::StatusKind;
use serde_json::json;

use crate::driver::{World, answer, both_ways, event};

const FLOW: &str = "
do:
  - f:
      fork:
        branches:
          - calls:
              do:
                - ask: { call: http, with: { method: get, endpoint: 'https://a.example' } }
                - note: { set: '${ . }' }
          - hears: { listen: { to: { one: { with: { type: t } } } } }
          - waits:
              for: { in: '[1, 2]' }
              do: [ { attempt: { try: [ { rest: { wait: PT5S } } ], catch: {} } } ]
";

#[test]
fn nothing_is_begun_while_suspended_and_results_are_kept() {
    both_ways(|kill| {
        let mut world = World::new(FLOW).killed(kill);
        world.start(json!({}));
        let open = world.instance.projection(&world.plan);
        assert_eq!((open.bookmarks.len(), open.timers.len(), open.effects.len()), (1, 1, 1));
        world.apply(Stimulus::Suspend).unwrap();
        assert_eq!(world.instance.phase(), Phase::Suspended);
        let held = world.instance.projection(&world.plan);
        assert_eq!((held.bookmarks.len(), held.timers.len(), held.effects.len()), (0, 0, 1));

        world.now_us = open.timers[0].due_us;
        assert_eq!(world.apply(Stimulus::Timer { slot: open.timers[0].slot }), Err(Rejected::NotWaiting));
        assert_eq!(world.try_event(open.bookmarks[0].slot, event("t", "1", json!(1))), Err(Rejected::NotWaiting));
        let slot = open.effects[0].0;
        let outcome = answer(200, "application/json", "{\"n\":7}");
        world.apply(Stimulus::Effect { slot, outcome: outcome.clone() }).unwrap();
        assert_eq!(world.apply(Stimulus::Effect { slot, outcome }), Err(Rejected::NotWaiting), "it is kept once");
        assert!(world.instance.projection(&world.plan).effects.is_empty(), "nobody has to make the call again");
        assert_eq!(world.completed(), [""; 0]);
        assert_eq!(world.apply(Stimulus::Suspend), Err(Rejected::Illegal("it is suspended already")));

        world.apply(Stimulus::Continue).unwrap();
        assert_eq!(
            world.completed(),
            [
                "/do/0/f/fork/branches/0/calls/do/0/ask",
                "/do/0/f/fork/branches/0/calls/do/1/note",
                "/do/0/f/fork/branches/0/calls"
            ]
        );
        assert_eq!(world.apply(Stimulus::Continue), Err(Rejected::Illegal("it is not suspended")));
        let again = world.instance.projection(&world.plan);
        assert_eq!((&again.bookmarks, &again.timers), (&open.bookmarks, &open.timers), "the same waits as before");
        let world = world.hears(event("t", "1", json!(1))).finished();
        assert_eq!(world.output(), json!([{ "n": 7 }, [1], {}]));
    });
}

#[test]
fn live_tasks_tell_that_they_are_suspended_and_resumed() {
    both_ways(|kill| {
        let mut world = World::new("do: [ { a: { do: [ { b: { wait: PT1S } } ] } } ]").killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Suspend).unwrap();
        world.apply(Stimulus::Continue).unwrap();
        assert_eq!(
            world.story()[5..],
            [
                "task.suspended /do/0/a/do/0/b",
                "task.suspended /do/0/a",
                "suspended",
                "resumed",
                "task.resumed /do/0/a",
                "task.resumed /do/0/a/do/0/b"
            ]
        );
        assert_eq!(world.finished().output(), json!({}));
    });
}

#[test]
fn pure_work_that_was_cut_waits_too() {
    both_ways(|kill| {
        let mut world =
            World::new("do: [ { a: { set: { n: 1 } } }, { b: { set: { n: '${ .n + 1 }' } } } ]").killed(kill);
        world.limits.steps_per_apply_max = 1;
        world.start(json!({}));
        assert!(world.more);
        world.apply(Stimulus::Suspend).unwrap();
        assert!(!world.more);
        world.apply(Stimulus::Proceed).expect_err("nothing goes on");
        world.apply(Stimulus::Continue).unwrap();
        assert_eq!(world.finished().output(), json!({ "n": 2 }));
    });
}

#[test]
fn a_suspended_instance_can_be_cancelled() {
    both_ways(|kill| {
        let mut world = World::new(FLOW).killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Suspend).unwrap();
        world.apply(Stimulus::Cancel).unwrap();
        assert_eq!(world.instance.phase(), Phase::Cancelled);
        assert!(world.in_flight.is_empty());
        assert_eq!(world.apply(Stimulus::Continue), Err(Rejected::Ended));
    });
}

#[test]
fn what_came_for_a_race_that_is_over_is_forgotten() {
    both_ways(|kill| {
        let call = |name: &str| {
            format!("{{ {name}: {{ call: http, with: {{ method: get, endpoint: 'https://{name}.example' }} }} }}")
        };
        let mut world = World::new(&format!(
            "do: [ {{ f: {{ fork: {{ compete: true, branches: [ {}, {} ] }} }} }} ]",
            call("a"),
            call("b")
        ));
        world = world.killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Suspend).unwrap();
        world.answer_at("/do/0/f/fork/branches/1/b", answer(200, "application/json", "\"b\""));
        world.answer_at("/do/0/f/fork/branches/0/a", answer(200, "application/json", "\"a\""));
        world.apply(Stimulus::Continue).unwrap();
        assert_eq!(world.output(), json!("b"), "it answered first");
    });
}

#[test]
fn only_what_has_started_and_not_ended_can_be_suspended() {
    let mut world = World::new("do: []");
    assert!(matches!(world.apply(Stimulus::Suspend), Err(Rejected::Illegal(_))));
    assert!(matches!(world.apply(Stimulus::Continue), Err(Rejected::Illegal(_))));
    world.start(json!({}));
    assert_eq!(world.apply(Stimulus::Suspend), Err(Rejected::Ended));
    assert_eq!(world.told(StatusKind::WorkflowSuspended), [""; 0]);
}

#[test]
fn what_a_call_was_authorised_with_is_not_kept() {
    let mut world = World::new("do: [ { a: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ]");
    world.start(json!({}));
    world.apply(Stimulus::Suspend).unwrap();
    let authorization = flagstop_engine::api::Authorization { scheme: "Bearer".into(), parameter: "t0ken".into() };
    let outcome = match answer(200, "application/json", "1") {
        EffectOutcome::Http { status, headers, body, .. } => {
            EffectOutcome::Http { status, headers, body, authorization: Some(authorization) }
        }
        other => other,
    };
    world.answer_at("/do/0/a", outcome);
    assert!(!String::from_utf8_lossy(&world.instance.encode()).contains("t0ken"));
    world.apply(Stimulus::Continue).unwrap();
    assert_eq!(world.output(), json!(1));
}
