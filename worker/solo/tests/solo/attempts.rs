//! Calls across kills, attempts and commands: what is one request, and what is another.

use crate::bench_files::passes;

const TWO: &str = "
do:
  - both:
      fork:
        branches:
          - ask: { call: http, with: { method: get, endpoint: 'https://a.example/slow' } }
          - busy: { do: [ { one: { wait: PT1S } }, { two: { wait: PT1S } }, { three: { wait: PT1S } } ] }
";

#[test]
fn a_call_that_is_made_again_after_a_kill_is_the_same_call() {
    passes(
        TWO,
        "
  - name: one request, one answer, on time
    http: [ { match: { url: 'https://a.example/slow' }, reply: { body: { n: 1 }, after: PT5S }, times: 1 } ]
    expect: { status: completed, elapsed: PT5S, requests: [ { url: 'https://a.example/slow' } ], where: '.[0].n == 1' }
  - name: the same failure
    http: [ { reply: { fail: reset, after: PT5S }, times: 1 } ]
    expect: { status: faulted, elapsed: PT5S, error: { status: 500 }, requests: [ {} ] }
",
    );
}

#[test]
fn a_new_attempt_is_a_new_request() {
    passes(
        "
do:
  - try:
      try: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example/' }, timeout: { after: PT2S } } } ]
      catch: { retry: { delay: PT1S, limit: { attempt: { count: 3 } } } }
",
        "
  - name: after no answer, a fault and a timeout
    http:
      - { reply: { fail: connect }, times: 1 }
      - { reply: { status: 503 }, times: 1 }
      - { reply: { after: PT1H }, times: 1 }
      - { reply: { body: { ok: true } } }
    expect: { output: { ok: true }, requests: [ {}, {}, {}, {} ], elapsed: PT5S }
",
    );
}

#[test]
fn commands_hold_end_and_retry_an_instance() {
    passes(
        "do: [ { nap: { wait: PT1H } }, { ask: { call: http, with: { method: get, endpoint: 'https://a.example/' } } } ]",
        "
  - name: a timer that falls due while it is held fires when it goes on
    http: [ { reply: { body: 1 } } ]
    commands: [ { at: PT30M, suspend: true }, { at: PT2H, continue: true } ]
    expect: { output: 1, elapsed: PT2H, lifecycle: [ { type: io.serverlessworkflow.workflow.suspended.v1 }, { type: io.serverlessworkflow.workflow.resumed.v1 } ] }
  - name: cancelled
    commands: [ { at: PT30M, cancel: true } ]
    expect: { status: cancelled, elapsed: PT30M, tasks: [] }
  - name: retried at the task that faulted
    http: [ { reply: { status: 500 }, times: 1 }, { reply: { body: 2 } } ]
    commands: [ { at: PT2H, retry: true } ]
    expect: { status: completed, output: 2, elapsed: PT2H, requests: [ {}, {} ], tasks: [/do/0/nap, /do/1/ask] }
  - name: what has not faulted is not retried
    http: [ { reply: { body: 1 } } ]
    commands: [ { at: PT1M, retry: true }, { at: PT2M, continue: true } ]
    expect: { output: 1, elapsed: PT1H }
  - name: an answer that comes while it is held counts when it goes on
    http: [ { reply: { body: 1, after: PT10M } } ]
    commands: [ { at: PT61M, suspend: true }, { at: PT3H, continue: true } ]
    expect: { output: 1, elapsed: PT3H, requests: [ {} ] }
",
    );
}

#[test]
fn token_requests_are_requests_and_are_made_once() {
    passes(
        "
use:
  authentications:
    login: { oauth2: { authority: 'https://id.example', grant: client_credentials, client: { id: me, secret: s }, endpoints: { token: /token } } }
do:
  - one: { call: http, with: { method: get, endpoint: { uri: 'https://a.example/1', authentication: { use: login } } } }
  - two: { call: http, with: { method: get, endpoint: { uri: 'https://a.example/2', authentication: { use: login } } } }
",
        "
  - name: one token for both
    http:
      - { match: { method: post, url: 'https://id.example/token' }, reply: { body: { access_token: t1, token_type: Bearer, expires_in: 3600 }, after: PT2S } }
      - { match: { headers: { authorization: Bearer t1 } }, reply: { body: 1, after: PT3S } }
    expect:
      status: completed
      elapsed: PT8S
      requests: [ { method: post, url: 'https://id.example/token' }, { url: 'https://a.example/1' }, { url: 'https://a.example/2' } ]
",
    );
}
