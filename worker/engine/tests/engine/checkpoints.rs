//! Checkpoints: where transitions end, what says so, and that nothing else depends on it.

use flagstop_engine::api::Stimulus;
use flagstop_engine::{Limits, Plan, check_checkpoint};
use serde_json::json;

use crate::driver::{Kill, World, answer, definition, event};

/// Every policy of a whole workflow.
const POLICIES: [&str; 7] =
    ["effects", "suspend", "task", "{ tasks: 1 }", "{ tasks: 3 }", "{ every: PT1H }", "{ when: '.n == 2' }"];

fn with(policy: &str, tasks: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: test, name: flow, version: '1.2.3', metadata: {{ flagstop: {{ {policy} }} }} }}\ndo: {tasks}"
    )
}

/// The tasks that each transition completed, by their names' letters.
fn transitions(rest: &str) -> Vec<String> {
    let mut world = World::new(rest);
    let mut found = Vec::new();
    let mut told = 0;
    world.start(json!({}));
    loop {
        let completed = world.completed();
        found.push(completed[told..].iter().filter_map(|pointer| pointer.rsplit('/').next()).collect());
        told = completed.len();
        if !world.more {
            return found;
        }
        world.apply(Stimulus::Proceed).unwrap();
    }
}

const FOUR: &str =
    "[ { a: { set: { n: 1 } } }, { b: { set: { n: 2 } } }, { c: { set: { n: 3 } } }, { d: { set: { n: 4 } } } ]";

#[test]
fn each_policy_ends_transitions_where_it_says() {
    for (policy, expected) in [
        ("checkpoint: effects", &["abcd"][..]),
        ("checkpoint: suspend", &["abcd"]),
        ("checkpoint: task", &["a", "b", "c", "d"]),
        ("checkpoint: { tasks: 2 }", &["ab", "cd"]),
        ("checkpoint: { tasks: 3 }", &["abc", "d"]),
        ("checkpoint: { every: PT1H }", &["abcd"]),
        ("checkpoint: { when: '.n == 2' }", &["ab", "cd"]),
        ("checkpoint: { when: '$task.name == \"a\" or $output.n == 3' }", &["a", "bc", "d"]),
        // What can't be answered is written.
        ("checkpoint: { when: '.n | error' }", &["a", "b", "c", "d"]),
        ("checkpoints: { set: task }", &["a", "b", "c", "d"]),
        ("checkpoint: task, checkpoints: { set: none }", &["abcd"]),
        ("checkpoint: task, checkpoints: { call: none }", &["a", "b", "c", "d"]),
    ] {
        assert_eq!(transitions(&with(policy, FOUR)), expected, "{policy}");
    }
}

#[test]
fn a_tasks_own_policy_is_nearer_than_all_others() {
    for (own, expected) in [
        ("before", &["ab", "cd"][..]),
        ("after", &["abc", "d"]),
        ("both", &["ab", "c", "d"]),
        ("none", &["abcd"]),
        ("task", &["abc", "d"]),
        ("{ tasks: 2 }", &["abc", "d"]),
    ] {
        let own = format!("c: {{ metadata: {{ flagstop: {{ checkpoint: {own} }} }},");
        assert_eq!(transitions(&with("", &FOUR.replace("c: {", &own))), expected, "{own}");
    }
    let none = FOUR.replace("b: {", "b: { metadata: { flagstop: { checkpoint: none } },");
    assert_eq!(transitions(&with("checkpoint: task", &none)), ["a", "bc", "d"]);
}

#[test]
fn a_deployments_policy_holds_where_nothing_else_is_said() {
    let limits = Limits { checkpoint: "{ tasks: 2 }".into(), ..Limits::default() };
    let count = |rest: &str| {
        let mut world = World::new(rest);
        world.plan = Plan::compile(definition(rest).as_bytes(), &limits).unwrap();
        world.start(json!({}));
        world.completed().len()
    };
    assert_eq!(count(&with("", FOUR)), 2);
    assert_eq!(count(&with("checkpoint: task", FOUR)), 1);
    for (policy, says) in [("tsak", "`tsak` is no checkpoint policy"), ("before", "no checkpoint policy"), ("{", "FS")]
    {
        let why = check_checkpoint(&Limits { checkpoint: policy.into(), ..Limits::default() }).unwrap_err();
        assert!(why.contains(says) || says == "FS", "{why}");
        assert!(why.contains("write effects"), "{why}");
    }
}

#[test]
fn time_alone_makes_a_checkpoint_when_enough_of_it_has_passed() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static TICKS_US: AtomicI64 = AtomicI64::new(0);
    let mut world = World::new(&with("checkpoint: { every: PT1S }", FOUR));
    // Each look at the clock takes 0.4 s: one at the beginning, one after each task.
    world.ticks_us = || TICKS_US.fetch_add(400_000, Ordering::Relaxed);
    world.start(json!({}));
    assert_eq!(world.completed().len(), 3);
}

#[test]
fn whatever_the_policy_the_same_happens() {
    let call = |name: &str| format!("{name}: {{ call: http, with: {{ method: get, endpoint: 'https://a.example' }} }}");
    let (ask, again) = (call("ask"), call("again"));
    let flows = [
        FOUR.to_owned(),
        format!("[ {{ a: {{ set: {{ n: 2 }} }} }}, {{ {ask} }}, {{ b: {{ set: {{ n: 2 }} }} }}, {{ {again} }}, {{ c: {{ wait: PT1S }} }} ]"),
        "[ { a: { for: { in: '[1, 2, 3]' }, do: [ { b: { set: { n: '${ $item }' } } }, { c: { if: $item == 2, wait: PT1S } } ] } }, { d: { set: '${ . }' } } ]".to_owned(),
        format!("[ {{ a: {{ fork: {{ branches: [ {{ b: {{ do: [ {{ c: {{ set: {{ n: 2 }}, export: {{ as: '{{ b: 1 }}' }} }} }}, {{ {ask} }} ] }} }}, {{ d: {{ do: [ {{ e: {{ wait: PT1S }} }}, {{ f: {{ set: {{ n: 2 }} }} }} ] }} }} ] }} }} }}, {{ g: {{ set: '${{ [., $context] }}' }} }} ]"),
        format!("[ {{ a: {{ try: [ {{ b: {{ set: {{ n: 2 }} }} }}, {{ {ask} }}, {{ c: {{ raise: {{ error: {{ type: 'https://example.com/e', status: 400 }} }} }} }} ], catch: {{ retry: {{ delay: PT1S, limit: {{ attempt: {{ count: 2 }} }} }}, do: [ {{ d: {{ set: {{ n: 2 }} }} }} ] }} }} }}, {{ e: {{ switch: [ {{ x: {{ then: end }} }} ] }} }} ]"),
        "[ { a: { emit: { event: { with: { type: made } } } } }, { b: { listen: { to: { any: [ { with: { type: t } } ], until: length >= 2 }, read: data }, foreach: { do: [ { c: { set: { n: '${ $item.n }' } } } ] } } } ]".to_owned(),
    ];
    for tasks in &flows {
        let mut first = None;
        for policy in POLICIES {
            for kill in [Kill::Never, Kill::AfterEveryApply] {
                let mut world = World::new(&with(&format!("checkpoint: {policy}"), tasks)).killed(kill);
                for _ in 0..4 {
                    world = world.answers(answer(200, "application/json", "{\"n\":2}"));
                }
                world = world.hears(event("t", "1", json!({ "n": 1 }))).hears(event("t", "2", json!({ "n": 2 })));
                let world = world.run(json!({}));
                let keys: Vec<_> = world.requests.iter().map(|effect| effect.idempotency_key.clone()).collect();
                let lived = (world.story(), world.instance.output().cloned(), keys, world.emitted().len());
                assert!(world.instance.phase().has_ended(), "{policy}: {tasks}");
                assert_eq!(first.get_or_insert_with(|| lived.clone()), &lived, "{policy}: {tasks}");
            }
        }
    }
}

#[test]
fn an_operator_may_come_between_two_checkpoints() {
    for stimulus in [Stimulus::Suspend, Stimulus::Cancel] {
        let mut world = World::new(&with("checkpoint: task", FOUR)).killed(Kill::AfterEveryApply);
        world.start(json!({}));
        assert!(world.more);
        let suspends = matches!(stimulus, Stimulus::Suspend);
        world.apply(stimulus).unwrap();
        assert!(world.apply(Stimulus::Proceed).is_err(), "the letter that was on its way changes nothing");
        assert_eq!(world.completed().len(), 1);
        if suspends {
            world.apply(Stimulus::Continue).unwrap();
            assert_eq!(world.finished().output(), json!({ "n": 4 }));
        }
    }
}

#[test]
fn a_wrong_policy_is_named_with_its_place() {
    let own = |policy: &str| {
        format!("do: [ {{ a: {{ set: {{ x: 1 }}, metadata: {{ flagstop: {{ checkpoint: {policy} }} }} }} }} ]")
    };
    for (text, code, says) in [
        (with("checkpoint: tasks", FOUR), "FS-VALUE", "`tasks` is no checkpoint policy"),
        (with("checkpoint: before", FOUR), "FS-VALUE", "`before` is no checkpoint policy"),
        (with("checkpoint: { tasks: 0 }", FOUR), "FS-VALUE", "a whole number above 0"),
        (with("checkpoint: { tasks: 1.5 }", FOUR), "FS-VALUE", "a whole number above 0"),
        (with("checkpoint: { every: soon }", FOUR), "FS-DURATION", ""),
        (with("checkpoint: { every: '${ .n }' }", FOUR), "FS-VALUE", "must be a constant"),
        (with("checkpoint: { when: '.n ==' }", FOUR), "FS-EXPR-SYNTAX", ""),
        (with("checkpoint: { tasks: 1, when: .n }", FOUR), "FS-VALUE", "says one thing"),
        (with("checkpoint: { task: 1 }", FOUR), "FS-UNKNOWN-KEY", "`task`"),
        (with("checkpoint: 3", FOUR), "FS-WRONG-TYPE", "`checkpoint` must be a mapping"),
        (with("checkpoints: { sett: task }", FOUR), "FS-UNKNOWN-KEY", "`sett` is no type of task"),
        (with("checkpoints: task", FOUR), "FS-WRONG-TYPE", "a mapping of task types"),
        (own("beforee"), "FS-VALUE", "`beforee` is no checkpoint policy"),
    ] {
        let found = Plan::compile(definition(&text).as_bytes(), &Limits::default()).expect_err(&text);
        let shown = found.render("flow.yaml", &definition(&text));
        assert!(found.iter().any(|found| found.code == code && found.message.contains(says)), "{shown}");
    }
}
