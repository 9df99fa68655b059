//! What a case can expect, and what it says when that is not so.

use crate::bench_files::{fails, passes, report};
use flagstop_engine::value;

const EMIT: &str = "
use: { secrets: [hr] }
input: { from: . }
do:
  - tell: { emit: { event: { with: { source: /me, type: told, data: { who: '${ .who }', n: 3.0 } } } }, export: { as: '{ told: true }' } }
  - look: { set: { who: '${ $secrets.hr.name }', told: '${ $context.told }' } }
";

#[test]
fn every_part_of_the_record_can_be_expected() {
    passes(
        EMIT,
        "
  - name: all of it
    input: { who: ada }
    secrets: { hr: { name: grace } }
    expect:
      status: completed
      output: { told: true, who: grace }
      where: [ .told, '$result.emitted[0].data.n == 3', '($result.instances | length) == 1', '$result.elapsed == \"PT0S\"', '$result.tasks | length == 2', '$result.requests == []', '$result.error == null', '$result.lifecycle[0].type | endswith(\"workflow.started.v1\")' ]
      context: { told: true }
      tasks: [/do/0/tell, /do/1/look]
      lifecycle:
        - { type: io.serverlessworkflow.workflow.started.v1, data: { definition: { name: flow } } }
        - { type: io.serverlessworkflow.task.completed.v1, data: { task: /do/1/look } }
        - { type: io.serverlessworkflow.workflow.completed.v1 }
      emitted: [ { type: told, source: /me, data: { n: 3, who: ada } } ]
      requests: []
      elapsed: PT0S
      instances: [ { input: { who: ada }, status: completed } ]
  - name: a secret that is not there
    expect:
      status: faulted
      error: { type: 'https://serverlessworkflow.io/spec/1.0.0/errors/authorization', status: 403, instance: /do/1/look }
",
    );
}

#[test]
fn what_is_not_so_is_told_with_its_place() {
    let wrong = "
  - name: all wrong
    input: { who: ada }
    secrets: { hr: { name: grace } }
    expect:
      status: faulted
      error: { status: 404 }
      output: { told: true, who: ada }
      context: null
      where: [ '.told == false', '.who | keys' ]
      tasks: [/do/1/look]
      lifecycle: [ { type: io.serverlessworkflow.workflow.completed.v1 }, { type: io.serverlessworkflow.workflow.started.v1 } ]
      emitted: [ { type: told, data: { n: 3 } } ]
      elapsed: PT1S
      instances: 2
";
    fails(
        EMIT,
        wrong,
        &[
            ("status", "the instance is completed, not faulted"),
            ("error", "there is no error: the instance is completed"),
            ("output", "`output` differs at /who"),
            ("context", "`context` differs"),
            ("where", "`.told == false` is not true"),
            ("where", "`.who | keys` fails: string (\"grace\") has no keys"),
            ("tasks", "`tasks` differs at /0"),
            ("lifecycle", "entry 2 of `lifecycle` did not happen after entry 1"),
            ("emitted", "`emitted` differs at /0/data/who"),
            ("elapsed", "it took PT0S, not PT1S"),
            ("instances", "there are 1 instances, not 2"),
        ],
    );
    let report = report(EMIT, wrong);
    let output = report.cases[0].failures.iter().find(|failure| failure.expectation == "output").unwrap();
    let place = &output.differences[0];
    let shown = |found: &Option<value::Value>| found.as_ref().map(value::to_json);
    assert_eq!((shown(&place.expected), shown(&place.actual)), (Some("\"ada\"".into()), Some("\"grace\"".into())));
    assert!(report.cases[0].log.iter().any(|line| line.what == "task completed" && line.subject == "/do/0/tell"));
}

#[test]
fn the_end_of_an_instance_that_has_not_ended_is_a_failure() {
    fails(
        "do: [ { hear: { listen: { to: { one: { with: { type: go } } } } } } ]",
        "\n  - { name: waits, expect: { elapsed: PT1S, output: 1 } }",
        &[
            ("output", "there is no output: the instance is waiting"),
            ("elapsed", "the instance has not ended: it is waiting"),
        ],
    );
}
