//! Virtual time: what happens when, and in which order.

use flagstop_solo::kit::Faults;

use crate::bench_files::{all_pass, fails, passes, report_of};

#[test]
fn three_days_pass_at_once() {
    passes(
        "do: [ { nap: { wait: P3D } }, { done: { set: { ok: true } } } ]",
        "
  - { name: slept, expect: { status: completed, elapsed: P3D, output: { ok: true }, instances: 1 } }
  - { name: still asleep, until: P2D, expect: { status: waiting, tasks: [] } }
  - { name: what is due at until still happens, until: P3D, expect: { status: completed, tasks: [/do/0/nap, /do/1/done] } }
",
    );
}

const HEAR: &str = "
do:
  - hear:
      listen: { to: { one: { with: { type: go } } }, read: envelope }
  - tell: { set: '${ { id: .[0].id, source: .[0].source, time: .[0].time, type: .[0].datacontenttype } }' }
";

#[test]
fn events_have_the_kits_defaults_and_the_virtual_time() {
    passes(
        HEAR,
        "
  - name: by time
    clock: '2030-05-01T12:00:00Z'
    events: [ { at: PT90M, event: { type: go, id: e1 } } ]
    expect:
      elapsed: PT1H30M
      output: { id: e1, source: /test, time: '2030-05-01T13:30:00Z', type: application/json }
  - name: the first of two at one moment is the first of the file
    events: [ { at: PT1S, event: { type: go, id: b } }, { at: PT1S, event: { type: go, id: a } } ]
    expect: { where: .id == \"b\" }
  - name: none comes
    expect: { status: waiting }
  - name: the same source and id is the same event
    events: [ { at: PT1S, event: { type: other, id: x } }, { at: PT2S, event: { type: go, id: x, source: /b } } ]
    expect: { where: .source == \"/b\" }
",
    );
}

#[test]
fn an_event_after_waiting_comes_when_only_it_can_help_and_takes_no_time() {
    passes(
        "
do:
  - nap: { wait: PT1H }
  - first: { listen: { to: { one: { with: { type: go } } } } }
  - second: { listen: { to: { one: { with: { type: go } } } } }
",
        "
  - name: one by one
    events: [ { after: waiting, event: { type: go, data: 1 } }, { after: waiting, event: { type: go, data: 2 } } ]
    expect: { status: completed, elapsed: PT1H, output: [2], tasks: [/do/0/nap, /do/1/first, /do/2/second] }
  - name: one is too few
    events: [ { after: waiting, event: { type: go } } ]
    expect: { status: waiting, tasks: [/do/0/nap, /do/1/first] }
",
    );
}

#[test]
fn at_one_moment_events_come_before_commands_and_commands_before_timers() {
    passes(
        "do: [ { hear: { listen: { to: { one: { with: { type: go } } } } } }, { nap: { wait: PT1H } } ]",
        "
  - name: the event first, the command finds what it led to
    events: [ { at: PT1H, event: { type: go } } ]
    commands: [ { at: PT1H, cancel: true } ]
    expect: { status: cancelled, tasks: [/do/0/hear], elapsed: PT1H }
  - name: the command before the timer
    events: [ { at: PT0S, event: { type: go } } ]
    commands: [ { at: PT1H, cancel: true } ]
    expect: { status: cancelled, tasks: [/do/0/hear] }
",
    );
}

#[test]
fn what_the_script_has_for_later_than_the_end_is_not_looked_at() {
    passes(
        "do: [ { a: { set: { a: 1 } } } ]",
        "
  - name: ended long before
    events: [ { at: P300D, event: { type: go } } ]
    commands: [ { at: P200D, cancel: true } ]
    expect: { status: completed, elapsed: PT0S }
",
    );
}

#[test]
fn a_case_that_never_ends_by_itself_is_stopped_and_says_how_to_mend_it() {
    fails(
        "do: [ { again: { wait: PT1S, then: back } }, { back: { set: { a: 1 }, then: again } } ]",
        "\n  - { name: endless, until: PT5S, expect: { status: completed } }",
        &[("status", "the instance is waiting, not completed")],
    );
}

#[test]
fn one_instance_lives_per_activation_key() {
    let flow = |activation: &str| {
        format!(
            "document: {{ dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0', metadata: {{ flagstop: {{ {activation} }} }} }}
schedule: {{ on: {{ one: {{ with: {{ type: start }} }} }}, read: data }}
input: {{ from: '.[0]' }}
do: [ {{ nap: {{ wait: PT1H }} }} ]
"
        )
    };
    let events = ["PT1S, event: { type: start, data: { k: 1 } }", "PT2S, event: { type: start, data: { k: 1 } }"];
    let events = [
        &events[..],
        &["PT3S, event: { type: start, data: { k: 2 } }"],
        &["PT2H, event: { type: start, data: { k: 1 } }"],
    ];
    let events: Vec<String> = events.concat().iter().map(|event| format!("{{ at: {event} }}")).collect();
    for (activation, instances) in [("", 4), ("activation: { key: .k }", 3)] {
        let case = format!(
            "workflows: [flow.yaml]\ncases:\n  - name: some\n    until: P1D\n    events: [ {} ]\n    expect: {{ instances: {instances} }}\n",
            events.join(", ")
        );
        all_pass(&report_of(&[("flow.yaml", &flow(activation))], &case, Faults::BothWays));
    }
}
