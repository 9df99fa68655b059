//! The bookmarks are exactly what the instance would take: what is found by key and what is taken by value agree,
//! whatever the strategy and however far it is.

use std::sync::Arc;

use flagstop_engine::api::{EffectOutcome, Phase, Stimulus};
use flagstop_engine::{Event, Limits};
use flagstop_schemas::CloudEvent;
use serde_json::json;

use crate::driver::{Kill, World, event};
use crate::random::Random;

/// More than any of the definitions has.
const FILTERS_MAX: i64 = 10;

fn one_of<'a>(random: &mut Random, choices: &[&'a str]) -> &'a str {
    choices[random.below(choices.len() as u64) as usize]
}

/// No filter reads the instance, and none has two open keys: then keys are exact.
fn any_filter(random: &mut Random) -> String {
    let with = one_of(
        random,
        &["type: a", "type: b", "type: a, subject: s", "data: '${ .n > 1 }'", "type: b, data: { n: 1, k: 1 }"],
    );
    let correlate = one_of(
        random,
        &[
            "",
            ", correlate: { k: { from: .data.k } }",
            ", correlate: { k: { from: .data.n } }",
            ", correlate: { k: { from: .data.k, expect: '${ .k }' } }",
            ", correlate: { k: { from: .data.k }, m: { from: .data.n, expect: 1 } }",
        ],
    );
    format!("{{ with: {{ {with} }}{correlate} }}")
}

fn any_filters(random: &mut Random) -> String {
    let count = random.below(4);
    format!("[ {} ]", (0..count).map(|_| any_filter(random)).collect::<Vec<_>>().join(", "))
}

fn any_definition(random: &mut Random) -> String {
    let to = match random.below(6) {
        0 => format!("one: {}", any_filter(random)),
        1 | 2 => format!("all: {}", any_filters(random)),
        3 => format!("any: {}", any_filters(random)),
        4 => format!("any: {}, until: length > 2", any_filters(random)),
        _ => {
            let until = match random.below(3) {
                0 => format!("one: {}", any_filter(random)),
                1 => format!("any: {}", any_filters(random)),
                _ => format!("all: {}", any_filters(random)),
            };
            format!("any: {}, until: {{ {until} }}", any_filters(random))
        }
    };
    let foreach = one_of(
        random,
        &["", ", foreach: { do: [ { h: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ] }"],
    );
    format!("do: [ {{ a: {{ listen: {{ to: {{ {to} }} }}{foreach} }} }} ]")
}

fn any_event(random: &mut Random, id: u32) -> CloudEvent {
    let mut cloud =
        event(one_of(random, &["a", "b", "c"]), &id.to_string(), json!({ "k": random.below(3), "n": random.below(3) }));
    if random.below(2) == 0 {
        cloud.subject = Some("s".into());
    }
    cloud
}

#[test]
fn what_is_found_by_key_is_what_is_taken_by_value() {
    let base: u64 = std::env::var("FLAGSTOP_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let mut taken = 0;
    for round in 0..400 {
        let seed = base + round;
        // Shown when the test fails.
        println!("FLAGSTOP_TEST_SEED={seed}");
        taken += one_listen(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
    }
    assert!(taken > 400, "events must be taken for this to say anything: {taken}");
}

fn one_listen(random: &mut Random) -> u32 {
    let definition = any_definition(random);
    println!("{definition}");
    let kill = if random.below(2) == 0 { Kill::Never } else { Kill::AfterEveryApply };
    let mut world = World::new(&definition).killed(kill);
    world.start(json!({ "k": random.below(3) }));
    let mut taken = 0;
    for id in 0..12 {
        let cloud = any_event(random, id);
        let parsed = Arc::new(Event::parse(cloud.clone(), &Limits::default()).unwrap());
        let found = world.waiting_slots(&parsed);
        for part in 0..FILTERS_MAX {
            // Of the first run of the instance.
            let slot = (1 << 16) + part;
            let takes = world_takes(&world, slot, &parsed);
            assert_eq!(takes, found.contains(&slot), "slot {slot}, event {cloud:?}");
        }
        let all_slots = world.instance.projection(&world.plan).bookmarks;
        assert!(all_slots.windows(2).all(|pair| pair[0] != pair[1]));
        if world.hear(cloud) {
            taken += 1;
        }
        if random.below(3) == 0
            && let Some((slot, _)) = world.instance.projection(&world.plan).effects.first().cloned()
        {
            let outcome = EffectOutcome::NoAnswer { reason: "lost".into() };
            let outcome = if random.below(9) == 0 { outcome } else { crate::driver::answer(200, "text/plain", "ok") };
            let _ = world.apply(Stimulus::Effect { slot, outcome });
        }
        if world.instance.phase().has_ended() {
            assert_ne!(world.instance.phase(), Phase::Cancelled);
            break;
        }
    }
    taken
}

fn world_takes(world: &World, slot: i64, event: &Arc<Event>) -> bool {
    let env = flagstop_engine::api::Env {
        now_us: world.now_us,
        seed: 7,
        secrets: &world.secrets,
        limits: &world.limits,
        ticks_us: || 0,
        status_changes: flagstop_engine::api::StatusChanges::Left,
    };
    flagstop_engine::apply(&world.plan, &world.instance, Stimulus::Event { slot, event: event.clone() }, &env).is_ok()
}
