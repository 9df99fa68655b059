//! `catch.retry`: delays, limits, and what follows when no attempt is left.

use flagstop_schemas::StatusKind;
use serde_json::json;

use crate::driver::{SECOND_US, START_US, World, answer, assert_has, both_ways, compile, problem};

/// A call under `try`, with this `catch`, and a task after it.
fn trying(catch: &str) -> World {
    World::new(&format!(
        "
do:
  - attempt:
      input: {{ from: '{{ made: . }}' }}
      try: [ {{ ask: {{ call: http, with: {{ method: get, endpoint: 'https://a.example' }} }} }} ]
      catch: {catch}
  - after: {{ set: {{ after: '${{ . }}' }} }}
"
    ))
}

fn failing(world: World, statuses: &[u16]) -> World {
    statuses.iter().fold(world, |world, status| world.answers(answer(*status, "application/json", "{}")))
}

/// When each attempt began, in seconds after the start.
fn attempts(world: &World) -> Vec<i64> {
    let asked = world.statuses().filter(|event| {
        event.kind == StatusKind::TaskStarted && event.task.as_deref() == Some("/do/0/attempt/try/0/ask")
    });
    asked.map(|event| (event.at_us - START_US) / SECOND_US).collect()
}

#[test]
fn a_retry_starts_the_list_anew_after_the_delay() {
    both_ways(|kill| {
        let world = failing(trying("{ retry: { delay: PT2S } }").killed(kill), &[503, 500, 200]).run(json!(1));
        assert_eq!(world.output(), json!({ "after": {} }));
        assert_eq!(attempts(&world), [0, 2, 4]);
        assert_eq!(world.told(StatusKind::TaskRetried), ["/do/0/attempt", "/do/0/attempt"]);
        let retried: Vec<_> = world
            .statuses()
            .filter(|event| event.kind == StatusKind::TaskRetried)
            .map(|event| event.attributes.clone())
            .collect();
        assert_eq!(retried, [vec![("attempt", json!(2))], vec![("attempt", json!(3))]]);
    });
}

#[test]
fn delays_grow_by_the_backoff() {
    both_ways(|kill| {
        for (policy, wanted) in [
            ("{ delay: PT3S }", [0, 3, 6, 9]),
            ("{ delay: PT3S, backoff: { constant: {} } }", [0, 3, 6, 9]),
            ("{ delay: PT3S, backoff: { linear: {} } }", [0, 3, 9, 18]),
            ("{ delay: PT3S, backoff: { exponential: {} } }", [0, 3, 9, 21]),
            ("{ delay: PT30H, backoff: { exponential: {} } }", [0, 86_400, 172_800, 259_200]),
            ("{ backoff: { exponential: {} } }", [0, 0, 0, 0]),
        ] {
            let world =
                failing(trying(&format!("{{ retry: {policy} }}")).killed(kill), &[500, 500, 500, 200]).run(json!(1));
            assert_eq!(attempts(&world), wanted, "{policy}");
        }
    });
}

#[test]
fn jitter_is_added_within_its_bounds() {
    both_ways(|kill| {
        let policy = "{ delay: PT10S, jitter: { from: PT1S, to: PT5S } }";
        let world = failing(trying(&format!("{{ retry: {policy} }}")).killed(kill), &[500; 9]).run(json!(1));
        let at = attempts(&world);
        let waits: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().all(|wait| (10..=16).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "it varies: {waits:?}");
    });
}

#[test]
fn count_is_the_number_of_retries_and_the_configured_bound_holds_without_it() {
    both_ways(|kill| {
        for (policy, calls) in [
            ("{ limit: { attempt: { count: 0 } } }", 1),
            ("{ limit: { attempt: { count: 2 } } }", 3),
            ("{}", 11),
            ("{ limit: { duration: PT1H } }", 11),
            ("{ limit: { attempt: { count: 20 } } }", 21),
        ] {
            let world = failing(trying(&format!("{{ retry: {policy} }}")).killed(kill), &[503; 30]).run(json!(1));
            assert_has(&world.error(), &problem("communication", 503, "/do/0/attempt/try/0/ask"));
            assert_eq!(world.requests.len(), calls, "{policy}");
            assert_eq!(world.told(StatusKind::TaskRetried).len(), calls - 1);
        }
    });
}

#[test]
fn when_no_attempt_is_left_do_gets_the_try_tasks_input_and_then_decides() {
    both_ways(|kill| {
        let retry = "retry: { limit: { attempt: { count: 1 } } }";
        let world = trying(&format!(
            "{{ as: e, {retry}, do: [ {{ note: {{ set: {{ in: '${{ . }}', status: '${{ $e.status }}' }} }} }} ] }}"
        ));
        let world = failing(world.killed(kill), &[500, 503]).run(json!(1));
        assert_eq!(world.output(), json!({ "after": { "in": { "made": 1 }, "status": 503 } }), "the last error");
        let world = failing(trying(&format!("{{ {retry}, then: end }}")).killed(kill), &[500, 503]).run(json!(1));
        assert_eq!(world.output(), json!({ "made": 1 }));
    });
}

#[test]
fn a_policy_that_says_no_leaves_it_to_do_or_rethrows() {
    both_ways(|kill| {
        for says_no in ["when: .status == 503", "exceptWhen: '$error.status == 500'", "when: '$e.status != 500'"] {
            let world = failing(trying(&format!("{{ as: e, retry: {{ {says_no} }} }}")).killed(kill), &[503, 500])
                .run(json!(1));
            assert_has(&world.error(), &problem("communication", 500, "/do/0/attempt/try/0/ask"));
            assert_eq!(world.requests.len(), 2, "{says_no}");
            let world = trying(&format!("{{ as: e, retry: {{ {says_no} }}, do: [ {{ x: {{ set: {{ x: 1 }} }} }} ] }}"));
            let world = failing(world.killed(kill), &[500]).run(json!(1));
            assert_eq!(world.output(), json!({ "after": { "x": 1 } }));
        }
    });
}

#[test]
fn what_the_catch_does_not_take_is_not_retried() {
    both_ways(|kill| {
        let world = trying("{ errors: { with: { status: 503 } }, retry: {}, do: [ { x: { set: { x: 1 } } } ] }");
        let world = failing(world.killed(kill), &[503, 404]).run(json!(1));
        assert_has(&world.error(), &problem("communication", 404, "/do/0/attempt/try/0/ask"));
    });
}

#[test]
fn each_attempt_can_be_cut_the_first_too() {
    both_ways(|kill| {
        let mut world =
            trying("{ retry: { delay: PT1S, limit: { attempt: { duration: PT5S, count: 2 } } } }").killed(kill);
        world.start(json!(1));
        for (at, cut) in [(5, true), (6, false), (11, true), (12, false), (17, true)] {
            world.fire();
            assert_eq!((world.now_us - START_US) / SECOND_US, at);
            assert_eq!(world.in_flight.is_empty(), cut);
        }
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/attempt"));
        assert_eq!(world.told(StatusKind::TaskCancelled), ["/do/0/attempt/try/0/ask"; 3]);
        let keys: Vec<_> = world.requests.iter().map(|effect| &effect.idempotency_key).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "no answer came: {keys:?}");
    });
}

#[test]
fn a_cut_attempt_goes_through_the_same_catch() {
    both_ways(|kill| {
        let world = trying("{ errors: { with: { status: 500 } }, retry: { limit: { attempt: { duration: PT5S } } } }");
        let mut world = world.killed(kill);
        world.start(json!(1));
        world.fire();
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/attempt"));
        assert_eq!(world.requests.len(), 1);
    });
}

#[test]
fn a_retry_that_would_begin_after_the_limit_is_not_made() {
    both_ways(|kill| {
        let world = trying("{ retry: { delay: PT4S, limit: { duration: PT9S } } }");
        let world = failing(world.killed(kill), &[500; 9]).run(json!(1));
        assert_has(&world.error(), &problem("communication", 500, "/do/0/attempt/try/0/ask"));
        assert_eq!(attempts(&world), [0, 4, 8]);
    });
}

#[test]
fn the_limit_of_all_attempts_cuts_the_one_in_flight() {
    both_ways(|kill| {
        let policy = "retry: { delay: PT1S, limit: { duration: PT5S } }";
        // In a later attempt the last caught error counts.
        let mut world = failing(trying(&format!("{{ {policy} }}")).killed(kill), &[503]);
        world.start(json!(1));
        world.go_on();
        assert_eq!(world.in_flight.len(), 1);
        world.fire();
        assert_eq!(world.now_us, START_US + 5 * SECOND_US);
        assert_has(&world.error(), &problem("communication", 503, "/do/0/attempt/try/0/ask"));
        // In the first there is none: it is a timeout, through the catch, and no retry follows.
        let mut world =
            trying(&format!("{{ as: e, {policy}, do: [ {{ note: {{ set: '${{ $e.status }}' }} }} ] }}")).killed(kill);
        world.start(json!(1));
        world.fire();
        assert_eq!(world.output(), json!({ "after": 408 }));
        let mut world = trying(&format!("{{ errors: {{ with: {{ status: 500 }} }}, {policy} }}")).killed(kill);
        world.start(json!(1));
        world.fire();
        assert_has(&world.error(), &problem("timeout", 408, "/do/0/attempt"));
    });
}

#[test]
fn exports_of_a_failed_attempt_stay() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - attempt:
      try:
        - mark: { set: { x: 1 }, export: { as: '($context // 0) + 1' } }
        - bad: { if: '$context < 3', raise: { error: { type: 'https://example.com/e', status: 1 } } }
      catch: { retry: {} }
",
        );
        assert_eq!(world.killed(kill).run(json!({})).context(), json!(3));
    });
}

#[test]
fn policies_are_defined_once_and_used_by_name() {
    both_ways(|kill| {
        let world = World::new(
            "
use: { retries: { twice: { delay: PT1S, limit: { attempt: { count: 2 } }, when: '$error.status == 500' } } }
do: [ { a: { try: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ], catch: { retry: twice } } } ]
",
        );
        assert_eq!(failing(world.killed(kill), &[500; 5]).run(json!({})).requests.len(), 3);
    });
}

#[test]
fn what_is_wrong_in_a_policy_is_found_at_load_used_or_not() {
    for (policy, code) in [
        ("{ delay: soon }", "FS-DURATION"),
        ("{ delay: { second: 1 } }", "FS-UNKNOWN-KEY"),
        ("{ backoff: {} }", "FS-VALUE"),
        ("{ backoff: { linear: {}, constant: {} } }", "FS-VALUE"),
        ("{ backoff: { linear: 5 } }", "FS-WRONG-TYPE"),
        ("{ limit: { attempt: { count: -1 } } }", "FS-VALUE"),
        ("{ limit: { count: 3 } }", "FS-UNKNOWN-KEY"),
        ("{ jitter: { from: PT1S } }", "FS-MISSING-KEY"),
        ("{ when: '.a ||' }", "FS-EXPR-SYNTAX"),
        ("{ when: '$item' }", "FS-EXPR-VARIABLE"),
    ] {
        let inline = format!("do: [ {{ a: {{ try: [], catch: {{ retry: {policy} }} }} }} ]");
        let named = format!("use: {{ retries: {{ p: {policy} }} }}\ndo: []");
        let twice = format!(
            "use: {{ retries: {{ p: {policy} }} }}\ndo: [ {{ a: {{ try: [], catch: {{ retry: p }} }} }}, {{ b: {{ try: [], catch: {{ retry: p }} }} }} ]"
        );
        for text in [inline, named, twice] {
            let found = compile(&text).expect_err(policy);
            let codes: Vec<_> = found.iter().map(|diagnostic| diagnostic.code).collect();
            assert_eq!(codes, [code], "{text}: {found}");
        }
    }
    let unknown = compile("use: { retries: { often: {} } }\ndo: [ { a: { try: [], catch: { retry: oftn } } } ]")
        .expect_err("unknown");
    assert!(unknown.to_string().contains("did you mean `often`?"), "{unknown}");
    compile("use: { errors: { gone: { type: '${ .a ||', status: 1 } } }\ndo: []")
        .expect_err("an error that no task raises");
    compile("use: { timeouts: { soon: { after: '${ .a || }' } } }\ndo: []").expect_err("a timeout that nothing uses");
}
