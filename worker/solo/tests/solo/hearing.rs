//! Which events an instance hears.

use flagstop_solo::kit::Faults;

use crate::bench_files::{all_pass, named, passes, report_of};

#[test]
fn a_correlated_listen_hears_events_from_before_the_start() {
    passes(
        "
schedule: { on: { one: { with: { type: begin } } } }
do:
  - hear: { listen: { to: { one: { with: { type: done }, correlate: { id: { from: .data.id, expect: '${ .[0].data.id }' } } } } } }
",
        "
  - name: early, the oldest first
    events:
      - { at: PT0S, event: { type: done, data: { id: 1, n: 1 } } }
      - { at: PT1S, event: { type: done, data: { id: 2, n: 2 } } }
      - { at: PT2S, event: { type: done, data: { id: 2, n: 3 } } }
      - { at: PT1H, event: { type: begin, data: { id: 2.0 } } }
    expect: { status: completed, output: [ { id: 2, n: 2 } ] }
  - name: not for ever
    events:
      - { at: PT0S, event: { type: done, data: { id: 2 } } }
      - { at: P8D, event: { type: begin, data: { id: 2 } } }
    expect: { status: waiting }
",
    );
}

#[test]
fn an_uncorrelated_listen_hears_what_arrived_since_its_instance_began() {
    passes(
        "
schedule: { on: { one: { with: { type: begin } } } }
do:
  - nap: { wait: PT1H }
  - hear: { listen: { to: { one: { with: { type: done } } } } }
",
        "
  - name: since the start
    events:
      - { at: PT0S, event: { type: done, data: before } }
      - { at: PT0S, event: { type: begin } }
      - { at: PT0S, event: { type: done, data: after } }
    expect: { output: [after], where: '$result.elapsed == \"PT1H\"' }
  - name: only before
    events: [ { at: PT0S, event: { type: done } }, { at: PT0S, event: { type: begin } } ]
    expect: { status: waiting }
",
    );
}

#[test]
fn any_without_filters_hears_everything_that_arrives_after_it_opened() {
    passes(
        "do: [ { nap: { wait: PT1H } }, { hear: { listen: { to: { any: [] } } } } ]",
        "
  - name: the next one
    events: [ { at: PT1M, event: { type: a } }, { at: PT2H, event: { type: b, data: 2 } } ]
    expect: { output: [2] }
  - name: none
    events: [ { at: PT1M, event: { type: a } } ]
    expect: { status: waiting }
",
    );
}

#[test]
fn an_event_reaches_every_instance_that_waits_and_each_hears_it_once() {
    passes(
        "
schedule: { on: { one: { with: { type: begin } } } }
do:
  - first: { listen: { to: { one: { with: { type: go } } } } }
  - second: { listen: { to: { one: { with: { type: go } } } } }
",
        "
  - name: broadcast
    events:
      - { at: PT0S, event: { type: begin } }
      - { at: PT1S, event: { type: begin } }
      - { at: PT2S, event: { type: go, data: 1 } }
      - { at: PT3S, event: { type: go, data: 2, id: again } }
      - { at: PT4S, event: { type: go, data: 3, id: again } }
    expect: { instances: [ { output: [2] }, { output: [2] } ] }
",
    );
}

#[test]
fn an_instance_hears_what_it_emits_itself() {
    passes(
        "
do:
  - tell: { emit: { event: { with: { source: /me, type: told, data: 5 } } } }
  - hear: { listen: { to: { one: { with: { type: told } } } } }
",
        "\n  - { name: itself, expect: { output: [5], emitted: [ { data: 5 } ] } }",
    );
}

#[test]
fn events_are_kept_while_it_is_suspended() {
    passes(
        "do: [ { hear: { listen: { to: { one: { with: { type: go } } } } } } ]",
        "
  - name: kept
    events: [ { at: PT2S, event: { type: go, data: 1 } }, { at: PT3S, event: { type: go, data: 2 } } ]
    commands: [ { at: PT1S, suspend: true }, { at: PT1H, continue: true } ]
    expect: { output: [1], elapsed: PT1H }
  - name: still held
    events: [ { at: PT2S, event: { type: go } } ]
    commands: [ { at: PT1S, suspend: true } ]
    expect: { status: suspended }
",
    );
}

#[test]
fn what_is_due_at_one_moment_goes_in_declared_order() {
    // The second branch is entered first, but the first one is declared first.
    passes(
        "
do:
  - race:
      fork:
        compete: true
        branches:
          - slow: { do: [ { prepare: { set: { a: 1 } } }, { nap: { wait: PT1H } }, { a: { set: slow-wins } } ] }
          - quick: { do: [ { nap: { wait: PT1H } }, { b: { set: quick-wins } } ] }
"
        .replace("set: slow-wins", "set: { who: first }")
        .replace("set: quick-wins", "set: { who: second }")
        .as_str(),
        "\n  - { name: same instant, expect: { output: { who: first }, elapsed: PT1H } }",
    );
}

#[test]
fn schedules_start_instances_in_virtual_time() {
    let body = "do: [ { nap: { wait: PT90M } }, { done: { set: { ok: true } } } ]";
    for (schedule, instances, until) in [
        ("every: { hours: 1 }", 24, "P1D"),
        ("cron: '0 */6 * * *'", 4, "P1D"),
        ("after: { minutes: 30 }", 12, "PT23H59M"),
    ] {
        passes(
            &format!("schedule: {{ {schedule} }}\n{body}"),
            &format!(
                "\n  - {{ name: by the clock, until: {until}, expect: {{ instances: {instances}, status: completed, output: {{ ok: true }} }} }}"
            ),
        );
    }
    passes(
        "schedule: { on: { all: [ { with: { type: a } }, { with: { type: b } } ] } }\ndo: [ { count: { set: '${ map(.data) }' } } ]",
        "
  - name: each set of events
    events:
      - { at: PT1S, event: { type: a, data: 1 } }
      - { at: PT2S, event: { type: a, data: 2 } }
      - { at: PT3S, event: { type: b, data: 3 } }
    expect: { instances: 1, output: [1, 3] }
",
    );
}

#[test]
fn an_emitted_event_starts_what_is_scheduled_on_it() {
    let first = named(
        "first",
        "do: [ { a: { emit: { event: { with: { source: /p, type: x } } } } }, { hear: { listen: { to: { one: { with: { type: y } } } } } } ]",
    );
    let second = named(
        "second",
        "schedule: { on: { one: { with: { type: x } } } }\ndo: [ { nap: { wait: PT1H } }, { a: { emit: { event: { with: { source: /q, type: y, data: 1 } } } } } ]",
    );
    let test = "
workflows: [first.yaml, second.yaml]
cases: [ { name: there and back, expect: { output: [1], elapsed: PT1H, instances: 1, emitted: [ { type: x }, { type: y } ] } } ]
";
    all_pass(&report_of(&[("first.yaml", &first), ("second.yaml", &second)], test, Faults::BothWays));
}
