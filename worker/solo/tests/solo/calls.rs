//! Mocked services.

use crate::bench_files::{fails, passes};

const GET: &str = "
do:
  - ask:
      call: http
      with: { method: get, endpoint: 'https://hr.example/api/{id}', query: { tag: [x, y], page: 1 }, headers: { X-Key: k }, output: response }
";

#[test]
fn the_first_rule_that_fits_and_is_not_used_up_answers() {
    passes(
        GET,
        "
  - name: by every part of the request
    input: { id: e-1 }
    http:
      - { match: { method: post }, reply: { status: 500 } }
      - { match: { url: 'https://hr.example/api/{id}/x' }, reply: { status: 500 } }
      - { match: { query: { tag: x } }, reply: { status: 500 } }
      - match: { method: GET, url: 'https://hr.example/api/{id}', headers: { x-key: k }, query: { tag: [x, y], page: 1 }, body: {} }
        reply: { status: 201, headers: { X-Made: yes }, body: { ok: true }, after: PT2S }
    expect:
      status: completed
      elapsed: PT2S
      where: ['.statusCode == 201', '.content.ok']
      requests: [ { method: get, url: 'https://hr.example/api/e-1', query: { page: '1' }, headers: { x-key: k } } ]
  - name: a rule can be used up
    input: { id: e-1 }
    http:
      - { match: { url: 'https://hr.example/api/e-1' }, reply: { status: 500 }, times: 0 }
      - { reply: {} }
    expect: { where: '.statusCode == 200 and .content == null' }
  - name: text is sent as it is
    input: { id: e-1 }
    http: [ { reply: { body: '{\"a\": 1}' } } ]
    expect: { where: '.content == \"{\\\"a\\\": 1}\"' }
  - name: no answer comes
    input: { id: e-1 }
    http: [ { reply: { fail: connect, after: PT3S } } ]
    expect: { status: faulted, elapsed: PT3S, error: { status: 500, type: 'https://serverlessworkflow.io/spec/1.0.0/errors/communication' } }
  - name: a call in flight
    input: { id: e-1 }
    http: [ { reply: { after: PT1H } } ]
    until: PT1M
    expect: { status: running, requests: [ {} ] }
",
    );
}

#[test]
fn a_program_is_known_by_either_word_for_its_language_and_by_its_arguments_in_either_form() {
    for (written, matched) in [("javascript", "js"), ("js", "javascript"), ("js", "js")] {
        let flow = format!(
            "\ndo: [ {{ a: {{ run: {{ script: {{ language: {written}, code: c, arguments: {{ size: 3, quick: true, slow: false, name: '${{ .n }}' }} }} }} }} }} ]\n"
        );
        passes(
            &flow,
            &format!(
                "
  - name: as a mapping, in any order
    input: {{ n: a b }}
    processes:
      - {{ match: {{ arguments: {{ name: a b, size: 3 }} }}, reply: {{ stdout: too few }} }}
      - {{ match: {{ arguments: {{ name: other, size: 3, quick: true }} }}, reply: {{ stdout: another }} }}
      - {{ match: {{ language: {matched}, arguments: {{ name: a b, quick: true, size: 3, none: }} }}, reply: {{ stdout: this }} }}
    expect: {{ output: this }}
  - name: as a list, in its order
    input: {{ n: a b }}
    processes: [ {{ match: {{ language: {matched}, arguments: [ --size=3, --quick, --name=a b ] }}, reply: {{ stdout: this }} }} ]
    expect: {{ output: this }}
"
            ),
        );
    }
}

#[test]
fn a_request_without_a_rule_fails_the_case_and_is_shown() {
    fails(
        GET,
        "\n  - { name: unknown, input: { id: e-9 }, expect: { status: faulted } }",
        &[("http", "no rule fits: GET https://hr.example/api/e-9")],
    );
}

#[test]
fn requests_are_listed_in_order_and_as_many_as_there_were() {
    let cases = "
  - name: one too many
    input: { id: e-1 }
    http: [ { reply: {} } ]
    expect: { requests: [ { url: 'https://hr.example/api/{id}' }, {} ] }
";
    fails(GET, cases, &[("requests", "`requests` has 1 entries, not 2")]);
}
