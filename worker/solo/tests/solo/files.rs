//! Test files that are wrong, workflows that are wrong, and workflows that shall be.

use flagstop_solo::kit::{Faults, Kill};

use crate::bench_files::{all_pass, definition, mistakes, named, report, report_of};

const FINE: &str = "do: [ { a: { set: { a: 1 } } } ]";
const WRONG: &str = "do:\n  - a: { sett: { foo: 1 } }\n";

#[test]
fn every_mistake_of_a_test_file_is_reported_with_its_place() {
    let cases = "  - name: a
    inptu: 1
    clock: noon
    until: 3 days
    http: [ { match: { url: 'https://x.example/?a=1' } }, { reply: { status: 1000, fail: now } } ]
    events: [ { at: PT1H, after: waiting, event: { type: x } }, { event: { id: 1 } } ]
    commands: [ { at: PT1H, cancel: true, retry: true }, { at: PT1H, suspend: no } ]
    faults: { kill: sometimes }
    expect: { status: done, where: '.a ==', instances: many, elapsed: P1M }
";
    let report = report(FINE, cases);
    assert!(report.cases.is_empty());
    assert_eq!(
        mistakes(&report),
        [
            "flow.test.yaml:4:5 FS-UNKNOWN-KEY unknown key `inptu` in a case",
            "flow.test.yaml:5:12 FS-VALUE `clock` is no RFC 3339 time: `noon`",
            "flow.test.yaml:6:12 FS-DURATION `until`: `3 days` is no duration: write ISO 8601 like `PT1H30M`, or an object of days, hours, minutes, seconds, milliseconds",
            "flow.test.yaml:7:13 FS-MISSING-KEY a rule of `http` needs `reply`",
            "flow.test.yaml:7:29 FS-VALUE `url` is compared without the query string",
            "flow.test.yaml:7:70 FS-VALUE `status` stands beside `fail`",
            "flow.test.yaml:7:90 FS-VALUE `fail` can't be `now`",
            "flow.test.yaml:8:34 FS-VALUE an event has both `at` and `after`",
            "flow.test.yaml:8:74 FS-MISSING-KEY an event needs a `type`",
            "flow.test.yaml:9:17 FS-VALUE an entry of `commands` must hold exactly one command",
            "flow.test.yaml:9:79 FS-WRONG-TYPE a command must be `true`, but is a string",
            "flow.test.yaml:10:21 FS-VALUE `kill` can't be `sometimes`",
            "flow.test.yaml:11:23 FS-VALUE `status` can't be `done`",
            "flow.test.yaml:11:36 FS-EXPR-SYNTAX not jq: expected term instead of its end in `.a ==`",
            "flow.test.yaml:11:56 FS-WRONG-TYPE `instances` must be a whole number, but is a string",
            "flow.test.yaml:11:71 FS-DURATION `elapsed`: `P1M` counts years or months, which have no fixed length: use days or weeks",
        ]
    );
}

#[test]
fn a_workflow_that_is_missing_or_wrong_is_reported_and_its_cases_do_not_run() {
    let test = "workflows: [flow.yaml, gone.yaml]\ncases: [ { name: a } ]";
    let report = report_of(&[("flow.yaml", &definition(FINE))], test, Faults::AsWritten);
    assert!(mistakes(&report)[0].starts_with("flow.test.yaml:1:24 FS-FILE the workflow `gone.yaml` can't be read"));

    let test = "workflows: [flow.yaml]\ncases: [ { name: a } ]";
    let report = report_of(&[("flow.yaml", &definition(WRONG))], test, Faults::AsWritten);
    assert!(
        report.cases.is_empty() && mistakes(&report)[0].starts_with("flow.yaml:3:10 FS-"),
        "{:?}",
        mistakes(&report)
    );
}

#[test]
fn a_case_may_expect_the_workflow_to_be_invalid() {
    let test = "
workflows: [flow.yaml]
cases:
  - { name: there, expect: { invalid: { line: 3, text: sett } } }
  - { name: anywhere, expect: { invalid: {} } }
";
    let report = report_of(&[("flow.yaml", &definition(WRONG))], test, Faults::BothWays);
    all_pass(&report);
    assert_eq!(report.cases.len(), 2);

    let test = test.replace("line: 3", "line: 2");
    let report = report_of(&[("flow.yaml", &definition(WRONG))], &test, Faults::AsWritten);
    assert!(report.is_valid() && !report.cases[0].has_passed() && report.cases[1].has_passed());

    let report = report_of(&[("flow.yaml", &definition(FINE))], &test, Faults::AsWritten);
    assert_eq!(report.cases[0].failures[0].message, "the workflow is valid");
}

#[test]
fn a_case_runs_with_kills_when_it_says_so_or_when_all_do() {
    let test = "
workflows: [flow.yaml]
cases:
  - { name: plain }
  - { name: killed, faults: { kill: every-commit } }
";
    let ways = |faults| {
        let report = report_of(&[("flow.yaml", &definition(FINE))], test, faults);
        report.cases.iter().map(|case| (case.name.clone(), case.kill)).collect::<Vec<_>>()
    };
    let (plain, killed) = ("plain".to_owned(), "killed".to_owned());
    assert_eq!(ways(Faults::AsWritten), [(plain.clone(), Kill::Never), (killed.clone(), Kill::EveryCommit)]);
    let both = [
        (plain.clone(), Kill::Never),
        (plain, Kill::EveryCommit),
        (killed.clone(), Kill::Never),
        (killed, Kill::EveryCommit),
    ];
    assert_eq!(ways(Faults::BothWays), both);
}

#[test]
fn an_event_reaches_every_workflow_that_is_deployed() {
    let ping =
        named("ping", "do: [ { a: { emit: { event: { with: { source: /p, type: pinged, data: { n: 1 } } } } } } ]");
    let pong = named(
        "pong",
        "schedule: { on: { one: { with: { type: pinged } } } }
do: [ { b: { emit: { event: { with: { source: /q, type: ponged, data: '${ .[0].data }' } } } } } ]",
    );
    let test = "
workflows: [ping.yaml, pong.yaml]
cases:
  - name: one starts the other
    expect:
      status: completed
      instances: 1
      emitted: [ { type: pinged, source: /p }, { type: ponged, data: { n: 1 } } ]
";
    all_pass(&report_of(&[("ping.yaml", &ping), ("pong.yaml", &pong)], test, Faults::BothWays));
}

#[test]
fn a_scheduled_workflow_is_deployed_and_every_event_starts_an_instance_once() {
    let on = definition(
        "schedule: { on: { one: { with: { type: asked } } } }
do: [ { nap: { wait: PT1H } }, { tell: { set: '${ .[0].data }' } } ]",
    );
    let test = "
workflows: [flow.yaml]
cases:
  - name: two events and a duplicate
    events:
      - { at: PT1M, event: { type: asked, id: a, data: 1 } }
      - { at: PT2M, event: { type: asked, id: b, data: 2 } }
      - { at: PT3M, event: { type: asked, id: a, data: 3 } }
    expect: { instances: [ { status: completed, output: 1 }, { output: 2 } ], output: 1, status: completed, tasks: [/do/0/nap, /do/1/tell] }
  - name: nothing starts it
    expect: { instances: 0 }
  - name: input starts it at once
    input: [ { data: 9 } ]
    expect: { instances: 1, output: 9, elapsed: PT1H }
";
    all_pass(&report_of(&[("flow.yaml", &on)], test, Faults::BothWays));
}
