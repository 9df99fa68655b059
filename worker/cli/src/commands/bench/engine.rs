//! The engine scenario: pure work in memory, without a store and a bus, so that only the engine's own cost is seen.
//!
//! Each figure is the best of several rounds: what disturbs a round only ever makes it slower.

mod subjects;

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use flagstop_engine::Limits;
use serde_json::{Map, Value, json};

use super::round;
use crate::args::Output;
use crate::exit::Failure;
use subjects::{BareJq, Subject};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// A `for` of 10,000 rounds with one `set`
    Loop,
    /// A `for` of 1,000,000 rounds with one `set`
    LongLoop,
    /// A `for` of 10,000 rounds with one `set`, which hands on a list of 10,000 items
    CarryLoop,
    /// The jq of that `set`, by itself
    Jq,
    /// A `fork` of 1,000 branches with one `set` each
    Fork,
    /// The onboarding example from its trigger to its durable wait: snapshot encoded, status events rendered
    StartToWait,
}

/// What one round has done.
pub(super) struct Done {
    /// What is counted: tasks, evaluations, instances.
    pub(super) count: u64,
    /// Further figures of this part.
    pub(super) more: Map<String, Value>,
}

/// Measures the parts, one after the other.
pub(super) fn run(only: &[Part], rounds: u32, output: Output) -> Result<(), Failure> {
    let parts = if only.is_empty() { Part::value_variants() } else { only };
    let limits = limits();
    let mut measures = Vec::new();
    for part in parts {
        measures.push(measure(*part, rounds, &limits)?);
    }
    let figures = json!({ "scenario": "engine", "measures": measures });
    match output {
        Output::Json => println!("{figures}"),
        Output::Table => show(&figures),
    }
    Ok(())
}

/// The worker's limits, but for the one that stops loops without a wait: the long loop is one.
fn limits() -> Limits {
    Limits { steps_without_wait_max: u64::MAX, ..Limits::default() }
}

fn measure(part: Part, rounds: u32, limits: &Limits) -> Result<Value, Failure> {
    let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    eprintln!("flagstop bench engine: {name}");
    let mut best = Duration::MAX;
    let mut done = Done { count: 0, more: Map::new() };
    let bare = BareJq::new(limits)?;
    let subject = match part {
        Part::Loop => Some(Subject::counting(10_000, limits)?),
        Part::LongLoop => Some(Subject::counting(1_000_000, limits)?),
        Part::CarryLoop => Some(Subject::carrying(10_000, limits)?),
        Part::Fork => Some(Subject::forking(1_000, limits)?),
        Part::StartToWait => Some(Subject::onboarding(limits)?),
        Part::Jq => None,
    };
    for _ in 0..rounds {
        let began = Instant::now();
        done = black_box(match &subject {
            Some(subject) => subject.run(limits)?,
            None => bare.run(limits)?,
        });
        best = best.min(began.elapsed());
    }
    let mut figures = Map::new();
    figures.insert("name".to_owned(), name.into());
    figures.insert("count".to_owned(), done.count.into());
    figures.insert("perSecond".to_owned(), round(done.count as f64 / best.as_secs_f64()).into());
    figures.insert("nanosecondsEach".to_owned(), round(best.as_nanos() as f64 / done.count.max(1) as f64).into());
    figures.extend(done.more);
    Ok(Value::Object(figures))
}

fn show(figures: &Value) {
    let measures = figures["measures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |name: &str| measures.iter().find(|measure| measure["name"] == name);
    for measure in measures {
        print!("{:<14}", measure["name"].as_str().unwrap_or_default());
        print!(" {:>12.0} per second", measure["perSecond"].as_f64().unwrap_or_default());
        print!(" {:>12.0} ns each", measure["nanosecondsEach"].as_f64().unwrap_or_default());
        if let (Some(snapshot), Some(data)) = (measure["snapshotBytes"].as_u64(), measure["dataBytes"].as_u64()) {
            print!("   snapshot {snapshot} bytes with {data} bytes of data");
        }
        println!();
    }
    if let (Some(jq), Some(step)) = (of("jq"), of("loop")) {
        let each = |measure: &Value| measure["nanosecondsEach"].as_f64().unwrap_or_default();
        println!("a `set` in a loop costs {:.1} times its bare jq", each(step) / each(jq));
    }
}
