//! Any stimuli in any order against any plan: what is told is the same with and without crashes, its numbers have no gap, no
//! phase follows that can't, and a snapshot that is not what was written is refused.

use flagstop_engine::api::{ChildOutcome, EffectOutcome, Phase, Request, Stimulus};
use flagstop_engine::{Event, Instance, Limits, Plan, Problem};
use flagstop_schemas::{CloudEvent, Data};
use serde_json::{Value, json};

use crate::corpus;
use crate::driver::{Kill, SECOND_US, World, answer, event, from_json};
use crate::harness::Target;
use crate::mutation::{self, Pool};
use crate::random::Random;

/// Stimuli of one life.
const STIMULI: usize = 40;
/// Bytes of a snapshot before its checksum, the checksum's own and those of the format.
const HEADER_BYTES: usize = 10;

const MEDIA_TYPES: [&str; 5] = ["application/json", "text/plain", "", "a/b; c", "image/png"];

/// What lives are given.
struct Matter {
    types: Vec<String>,
    bodies: Vec<Value>,
}

#[test]
fn no_stimuli_break_an_instance_of_any_plan() {
    let documents: Vec<Value> = corpus::definitions().iter().filter_map(|text| corpus::as_json(text)).collect();
    let pool = Pool::of(&documents);
    let generate = |random: &mut Random| {
        let mut document = random.one_of(&documents).clone();
        if random.below(2) == 0 {
            document = mutation::mutate(&document, &pool, random).0;
        }
        format!("{}\n{document}", random.below(1 << 30)).into_bytes()
    };
    Target { name: "stimuli", cases: 2_000, generate, check }.run();
}

/// The first line is the life's seed, the rest the definition.
fn check(input: &[u8]) {
    let Some((seed, definition)) = std::str::from_utf8(input).unwrap().split_once('\n') else { return };
    let seed: u64 = seed.parse().unwrap();
    let compile = || Plan::compile(definition.as_bytes(), &Limits::default()).ok();
    let (Some(calm), Some(hard)) = (compile(), compile()) else { return };
    let matter = Matter::of(&serde_json::from_str(definition).unwrap());
    let calm = live(calm, Kill::Never, &matter, seed);
    let hard = live(hard, Kill::AfterEveryApply, &matter, seed);
    assert_eq!(calm.story(), hard.story(), "crashes change what is told");
    assert_eq!(calm.instance.projection(&calm.plan), hard.instance.projection(&hard.plan));
    assert_eq!(calm.instance.output(), hard.instance.output());
    assert_eq!(calm.context(), hard.context());
    spoil(&calm, &mut Random::of(seed, 2));
}

fn live(plan: Plan, kill: Kill, matter: &Matter, seed: u64) -> World {
    let random = &mut Random::of(seed, 1);
    let mut world = World::of(plan).killed(kill);
    world.limits.steps_per_apply_max = 1 + random.below(20) as u32;
    world.limits.steps_without_wait_max = 200;
    world.limits.expression_steps_max = 20_000;
    world.limits.heard_events_max = 3;
    world.limits.collected_events_max = 5;
    world.limits.listen_queue_max = 2;
    for _ in 0..STIMULI {
        world.now_us += random.below(4) as i64 * SECOND_US;
        let stimulus = matter.stimulus(&world, random);
        let before = world.instance.phase();
        let is_retry = matches!(stimulus, Stimulus::Retry);
        // The driver's own checks run after each transition that is made.
        if world.apply(stimulus).is_ok() {
            assert_legal(before, world.instance.phase(), is_retry);
        }
    }
    world
}

fn assert_legal(before: Phase, after: Phase, is_retry: bool) {
    use Phase::{Cancelled, Completed, Faulted, Pending, Running, Suspended, Waiting};
    let is_legal = match before {
        Pending => after != Pending && after != Suspended,
        Running | Waiting | Suspended => after != Pending,
        Faulted => is_retry && matches!(after, Running | Waiting | Completed | Faulted),
        // What came for a program that nobody awaits changes nothing of it.
        Cancelled | Completed => after == before,
    };
    assert!(is_legal || before == after, "{before:?} became {after:?}");
}

impl Matter {
    fn of(definition: &Value) -> Self {
        let mut found =
            Self { types: vec!["t".to_owned()], bodies: vec![json!(null), json!({ "n": 1 }), json!([1, 2])] };
        found.collect(definition);
        found
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(entries) => {
                self.types.extend(entries.get("type").and_then(Value::as_str).map(str::to_owned));
                self.bodies.extend(entries.get("data").cloned());
                entries.values().for_each(|inner| self.collect(inner));
            }
            Value::Array(items) => items.iter().for_each(|inner| self.collect(inner)),
            _ => {}
        }
    }

    fn stimulus(&self, world: &World, random: &mut Random) -> Stimulus {
        let projection = world.instance.projection(&world.plan);
        let (bookmarks, timers) = (projection.bookmarks.iter(), projection.timers.iter());
        let mut slots: Vec<i64> = bookmarks.map(|found| found.slot).chain(timers.map(|found| found.slot)).collect();
        slots.extend(projection.effects.iter().map(|(slot, _)| *slot));
        slots.extend(projection.children.iter().map(|(slot, _)| *slot));
        slots.extend([-1, 0, i64::MAX, random.below(1 << 20) as i64]);
        let slot = *random.one_of(&slots);
        match random.below(20) {
            0 | 1 => Stimulus::Start { input: from_json(&self.body(random)), cause: None, depth: 0, heard: Vec::new() },
            2..=5 => self.event(world, slot, random),
            6..=8 => Stimulus::Timer { slot },
            9..=11 => Stimulus::Effect { slot, outcome: self.outcome(world, slot, random) },
            12 => Stimulus::Child { slot, outcome: self.child(random) },
            13 if random.below(20) == 0 => Stimulus::Cancel,
            14 if random.below(3) == 0 => Stimulus::Suspend,
            15 => Stimulus::Continue,
            16 => Stimulus::Retry,
            _ => Stimulus::Proceed,
        }
    }

    fn event(&self, world: &World, slot: i64, random: &mut Random) -> Stimulus {
        let ty: &String = random.one_of(&self.types);
        let mut cloud = event(ty, &random.below(30).to_string(), self.body(random));
        spoil_event(&mut cloud, random);
        match Event::parse(cloud, &world.limits) {
            Ok(event) => Stimulus::Event { slot, event: event.into() },
            // Intake would have refused it.
            Err(error) => {
                assert!(error.to_string().starts_with("FS-EVENT-DATA"));
                Stimulus::Proceed
            }
        }
    }

    /// What may come back: a program's end for a program, an answer or none for a request.
    fn outcome(&self, world: &World, slot: i64, random: &mut Random) -> EffectOutcome {
        let body = match random.below(4) {
            0 => (*random.one_of(&["", "{", "\u{0}", "[[1]", "1e999", "{\"a\":1,\"a\":2}"])).to_owned(),
            _ => self.body(random).to_string(),
        };
        let asked = world.in_flight.iter().find(|effect| effect.slot == slot).map(|effect| &effect.request);
        match (random.below(6), asked) {
            (0, _) => EffectOutcome::NoAnswer { reason: "lost".into() },
            (_, Some(Request::Process(_))) => {
                EffectOutcome::Process { code: random.below(300) as i32 - 20, stdout: body, stderr: String::new() }
            }
            (1, _) => EffectOutcome::NotAuthenticated { reason: "refused".into() },
            _ => {
                let status = *random.one_of(&[0, 100, 200, 200, 204, 302, 404, 500, 999, u16::MAX]);
                answer(status, MEDIA_TYPES[random.below(MEDIA_TYPES.len())], &body)
            }
        }
    }

    fn child(&self, random: &mut Random) -> ChildOutcome {
        match random.below(4) {
            0 => ChildOutcome::Completed(from_json(&self.body(random))),
            1 => ChildOutcome::Cancelled,
            2 => ChildOutcome::NotStarted { reason: "no such definition".into() },
            _ => {
                let error = json!({ "type": "https://example.com/e", "status": 500, "instance": "/do/0/a" });
                ChildOutcome::Faulted(Problem::from_value(&from_json(&error), "/do").unwrap())
            }
        }
    }

    fn body(&self, random: &mut Random) -> Value {
        random.one_of(&self.bodies).clone()
    }
}

fn spoil_event(event: &mut CloudEvent, random: &mut Random) {
    match random.below(12) {
        0 => event.data = Data::Absent,
        1 => event.data = Data::Json(random.one_of(&["{", "", "nul", "[1,]", "\"\\ud800\""]).as_bytes().into()),
        2 => event.data = Data::Json("[".repeat(300).into()),
        3 => event.data = Data::Binary(vec![0xff, 0, 0xfe].into()),
        4 => event.id = "\u{0}".repeat(random.below(3)),
        5 => event.datacontenttype = Some("text/plain; charset=nonsense".to_owned()),
        6 => drop(event.extensions.insert("correlationid".to_owned(), "x".into())),
        7 => event.subject = Some(String::new()),
        _ => {}
    }
}

/// A snapshot with some bytes changed is refused; one whose checksum fits all the same ends no worker.
fn spoil(world: &World, random: &mut Random) {
    let whole = world.instance.encode();
    for _ in 0..20 {
        let mut bytes = whole.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, random.below(256) as u8),
                2 => bytes[at] = random.below(256) as u8,
                _ => bytes[at] ^= 1 << random.below(8),
            }
        }
        if bytes == whole {
            continue;
        }
        Instance::decode(&world.plan, &bytes).expect_err("what was not written so is refused");
        if bytes.len() > HEADER_BYTES {
            seal(&mut bytes);
            let _ = Instance::decode(&world.plan, &bytes);
        }
    }
}

/// Makes the checksum fit (FNV-1a of all bytes but its own).
fn seal(bytes: &mut [u8]) {
    let (format, rest) = bytes.split_at(2);
    let sum = format
        .iter()
        .chain(&rest[8..])
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    bytes[2..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
}
