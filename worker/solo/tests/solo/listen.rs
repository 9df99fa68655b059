//! Listens of every kind, in the kit: what came early, while busy, or for another key.

use crate::bench_files::passes;

#[test]
fn events_that_came_early_are_heard_oldest_first_and_each_once() {
    passes(
        "
do:
  - nap: { wait: PT1H }
  - both: { listen: { to: { all: [ { with: { type: a } }, { with: { type: b } } ] } } }
  - more: { listen: { to: { any: [ { with: { type: a } }, { with: { type: b } } ], until: length == 2 } }, input: { from: '{ both: . }' } }
",
        "
  - name: all came while it slept
    events:
      - { at: PT1S, event: { type: a, data: a1 } }
      - { at: PT2S, event: { type: a, data: a2 } }
      - { at: PT3S, event: { type: b, data: b1 } }
      - { at: PT4S, event: { type: b, data: b2 } }
    expect: { output: [a2, b2], elapsed: PT1H }
",
    );
}

#[test]
fn the_first_event_binds_the_room_also_for_what_came_before_it() {
    passes(
        "
do:
  - read:
      listen:
        to:
          all:
            - { with: { type: t }, correlate: { room: { from: .data.room } } }
            - { with: { type: h, data: '${ .h > 30 }' }, correlate: { room: { from: .data.room } } }
      output: { as: 'map(.room)' }
",
        "
  - name: other rooms are passed over
    events:
      - { at: PT1S, event: { type: t, data: { room: 5 } } }
      - { at: PT2S, event: { type: h, data: { room: 6, h: 50 } } }
      - { at: PT3S, event: { type: h, data: { room: 5, h: 20 } } }
      - { at: PT4S, event: { type: h, data: { room: 5, h: 40 } } }
    expect: { output: [5, 5], elapsed: PT4S }
  - name: the matching half never comes
    events: [ { at: PT1S, event: { type: t, data: { room: 5 } } }, { at: PT2S, event: { type: h, data: { room: 6, h: 50 } } } ]
    expect: { status: waiting }
",
    );
}

#[test]
fn each_event_is_worked_on_in_its_turn_while_others_come() {
    passes(
        "
do:
  - chat:
      listen: { to: { any: [ { with: { type: m } } ], until: { one: { with: { type: bye } } } } }
      foreach:
        item: m
        at: i
        do:
          - post: { call: http, with: { method: post, endpoint: 'https://chat.example/{n}', body: { text: '${ $m }', number: '${ $i }' } }, input: { from: '{ n: $i }' } }
        output: { as: .ok }
",
        "
  - name: a slow service
    http: [ { match: { method: post, url: 'https://chat.example/{n}' }, reply: { body: { ok: true }, after: PT10S } } ]
    events:
      - { at: PT1S, event: { type: m, data: one } }
      - { at: PT2S, event: { type: m, data: two } }
      - { at: PT3S, event: { type: bye } }
      - { at: PT4S, event: { type: m, data: late } }
    expect:
      output: [true, true]
      elapsed: PT21S
      tasks: [/do/0/chat/foreach/do/0/post, /do/0/chat/foreach/do/0/post, /do/0/chat]
      requests:
        - { method: post, url: 'https://chat.example/0', body: { text: one, number: 0 } }
        - { method: post, url: 'https://chat.example/1', body: { text: two, number: 1 } }
",
    );
}

#[test]
fn every_event_after_it_opened_is_heard_by_a_listen_to_any_of_nothing() {
    passes(
        "
do:
  - nap: { wait: PT10S }
  - all: { listen: { to: { any: [], until: length == 2 } } }
",
        "
  - name: not what came before
    events:
      - { at: PT1S, event: { type: early, data: early } }
      - { at: PT11S, event: { type: x, data: x } }
      - { at: PT12S, event: { type: y, data: y } }
    expect: { output: [x, y], elapsed: PT12S }
",
    );
}

#[test]
fn a_listen_is_cut_and_retried_and_hears_no_event_twice() {
    passes(
        "
do:
  - patient:
      try:
        - both: { listen: { to: { all: [ { with: { type: a } }, { with: { type: b } } ] } }, timeout: { after: PT1M } }
      catch: { errors: { with: { status: 408 } }, retry: { delay: PT1S, limit: { attempt: { count: 2 } } } }
",
        "
  - name: second attempt
    events:
      - { at: PT1S, event: { type: a, data: a1 } }
      - { at: PT70S, event: { type: b, data: b1 } }
      - { at: PT80S, event: { type: a, data: a2 } }
    expect: { output: [b1, a2], elapsed: PT80S }
  - name: too late
    events: [ { at: PT1S, event: { type: a } } ]
    expect: { status: faulted, error: { status: 408, instance: /do/0/patient/try/0/both }, elapsed: PT182S }
",
    );
}
