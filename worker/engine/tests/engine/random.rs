//! Whatever comes, in whatever order: no panic, no gap, no leak between the state and its projections.

use flagstop_engine::api::{EffectOutcome, Stimulus};
use serde_json::json;

use crate::driver::{Kill, SECOND_US, World, answer, event, from_json};

const DEFINITIONS: [&str; 11] = [
    "do: [ { a: { listen: { to: { one: { with: { type: t }, correlate: { k: { from: .data.k, expect: '${ .k }' } } } } } } }, { b: { call: http, with: { method: get, endpoint: 'https://a.example' } } }, { c: { wait: PT5S } } ]",
    "do: [ { a: { try: [ { b: { call: http, with: { method: get, endpoint: 'https://a.example' } } }, { c: { do: [ { d: { wait: PT1S } } ] } } ], catch: { as: e, do: [ { f: { listen: { to: { one: { with: { type: t, data: '${ .k == $e.status }' } } } } } } ], then: a } } } ]",
    "do: [ { a: { set: '${ .n }' } }, { b: { if: '. > 3', raise: { error: { type: 'https://example.com/e', status: 1 } } } }, { c: { set: { n: '${ . + 1 }' }, then: a } } ]",
    "do: [ { a: { do: [ { b: { emit: { event: { with: { type: t } } } } }, { c: { listen: { to: { one: { with: { type: t }, correlate: { k: { from: .data.k } } } } } } } ] } }, { d: { switch: [ { x: { when: '.[0].k == 1', then: a } }, { y: { then: end } } ] } } ]",
    "do: [ { a: { listen: { to: { any: [ { with: { type: t }, correlate: { k: { from: .data.k } } } ], until: length > 4 } }, foreach: { do: [ { b: { call: http, with: { method: get, endpoint: 'https://a.example' } } }, { c: { if: '$item.k == 1', wait: PT1S } } ], export: { as: '{ n: $index }' } } } } ]",
    "do: [ { a: { try: [ { b: { listen: { to: { all: [ { with: { type: t } }, { with: { type: t }, correlate: { k: { from: .data.k } } }, { with: { type: t }, correlate: { k: { from: .data.k } } } ] } } } }, { c: { listen: { to: { any: [], until: { all: [ { with: { type: t, data: '${ .k == 1 }' } } ] } } } } } ], catch: {} } } ]",
    "do: [ { a: { for: { in: '[range(4)]' }, while: '$index < 3', do: [ { b: { try: [ { c: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ], catch: { retry: { delay: PT1S, backoff: { linear: {} }, limit: { attempt: { count: 2, duration: PT3S }, duration: PT9S } }, do: [ { d: { set: '${ .n }' } } ] } } } ] } } ]",
    "do: [ { a: { fork: { branches: [ { b: { call: http, with: { method: get, endpoint: 'https://a.example' }, export: { as: '$context + { b: 1 }' } } }, { c: { do: [ { d: { wait: PT2S } }, { e: { set: { n: 1 }, export: { as: '{ c: $context }' } } } ] } }, { f: { listen: { to: { one: { with: { type: t } } } }, timeout: { after: PT6S } } } ] } } }, { g: { set: '${ $context }', then: a } } ]",
    "timeout: { after: PT20S }\ndo: [ { a: { fork: { compete: true, branches: [ { b: { for: { in: '[1, 2]' }, do: [ { c: { wait: PT1S } } ] } }, { d: { fork: { branches: [ { e: { call: http, with: { method: get, endpoint: 'https://a.example' } } }, { f: { wait: PT1S } } ] } } }, { g: { call: http, with: { method: post, endpoint: 'https://a.example' } } } ] } } }, { h: { wait: PT3S, then: a } } ]",
    "use: { extensions: [ { x: { extend: all, when: '$task.name != \"c\"', before: [ { y: { call: http, with: { method: get, endpoint: 'https://x.example' } } }, { s: { if: .n == 2, set: { n: 0 }, then: exit } } ], after: [ { z: { wait: PT1S, timeout: { after: PT2S } } } ] } } ] }\ndo: [ { a: { fork: { branches: [ { b: { set: { n: 1 } } }, { c: { for: { in: '[1, 2]' }, do: [ { d: { set: '${ $item }' } } ] } } ] } } } ]",
    "do: [ { a: { timeout: { after: PT4S }, try: [ { b: { for: { in: '[1, 2]' }, do: [ { c: { listen: { to: { one: { with: { type: t } } } } } }, { d: { if: '.[0].k == 1', raise: { error: { type: 'https://example.com/e', status: 1 } } } } ] } } ], catch: { errors: { with: { status: 1 } }, retry: { limit: { attempt: { count: 1 } } }, do: [ { e: { wait: PT1S } } ], then: end } } } ]",
];

/// xorshift64*: no dependency, and a printed seed repeats a run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

#[test]
fn no_order_of_stimuli_breaks_an_instance() {
    let base: u64 = std::env::var("FLAGSTOP_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    for round in 0..400 {
        let seed = base + round;
        // Shown when the test fails.
        println!("FLAGSTOP_TEST_SEED={seed}");
        one_life(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
    }
}

/// The same life with and without crashes: what is told of it must be the same.
fn one_life(random: &mut Random) {
    let seed = random.0;
    let [calm, hard] = [Kill::Never, Kill::AfterEveryApply].map(|kill| {
        let random = &mut Random(seed);
        let mut world = World::new(DEFINITIONS[random.below(DEFINITIONS.len() as u64) as usize]).killed(kill);
        world.limits.steps_per_apply_max = 1 + random.below(9) as u32;
        world.limits.heard_events_max = 3;
        for _ in 0..60 {
            world.now_us += random.below(4) as i64 * SECOND_US;
            let stimulus = any_stimulus(&world, random);
            // The driver's own checks run after each transition that is made.
            let _ = world.apply(stimulus);
        }
        world
    });
    assert_eq!(calm.story(), hard.story());
    assert_eq!(calm.instance.projection(&calm.plan), hard.instance.projection(&hard.plan));
    assert_eq!(calm.instance.output(), hard.instance.output());
    assert_eq!(calm.context(), hard.context());
}

fn any_stimulus(world: &World, random: &mut Random) -> Stimulus {
    let projection = world.instance.projection(&world.plan);
    let mut slots: Vec<i64> = projection.bookmarks.iter().map(|bookmark| bookmark.slot).collect();
    slots.extend(projection.timers.iter().map(|timer| timer.slot));
    slots.extend(projection.effects.iter().map(|(slot, _)| *slot));
    slots.extend([-1, 0, i64::MAX, random.below(1 << 20) as i64]);
    let slot = slots[random.below(slots.len() as u64) as usize];
    match random.below(18) {
        0 | 1 => Stimulus::Start {
            input: from_json(&json!({ "k": random.below(3), "n": random.below(3) })),
            cause: None,
            depth: 0,
            heard: Vec::new(),
        },
        2..=4 => {
            let cloud = event("t", &random.below(30).to_string(), json!({ "k": random.below(3) }));
            let event = flagstop_engine::Event::parse(cloud, &world.limits).unwrap();
            Stimulus::Event { slot, event: event.into() }
        }
        5..=7 => Stimulus::Timer { slot },
        8 => Stimulus::Effect { slot, outcome: EffectOutcome::NoAnswer { reason: "lost".into() } },
        9..=11 => Stimulus::Effect {
            slot,
            outcome: answer(200 + 100 * random.below(4) as u16, "application/json", "{\"n\":1}"),
        },
        12 if random.below(30) == 0 => Stimulus::Cancel,
        13 if random.below(3) == 0 => Stimulus::Suspend,
        14 => Stimulus::Continue,
        15 => Stimulus::Retry,
        _ => Stimulus::Proceed,
    }
}
