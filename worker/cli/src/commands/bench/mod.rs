//! `flagstop bench`: measures this build, by itself or on the store and the bus that it is given.

mod endtoend;
mod engine;
mod load;
mod workflow;

use std::path::Path;

use clap::{Args, Subcommand};

use crate::args::{BusFlag, Output, StoreFlag};
use crate::exit::{Exit, Failure};

/// Measures this build. Figures of shared machines are noisy: compare within one run.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Workflows from their trigger on the bus to their completed event on the bus, each waiting for one event between
    Endtoend(EndToEnd),
    /// The engine alone, in memory: loops, branches, and a workflow from its start to its durable wait
    Engine(Engine),
}

/// Each part is run several times, and the best of them counts.
#[derive(Debug, Args)]
pub(crate) struct Engine {
    /// Measure only this; can be given several times
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<engine::Part>,
    /// How often each part is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How the figures are shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Triggers, resumes and status events all go over the bus; a worker runs in this process, in a schema and under names of
/// the benchmark's own, which stay behind.
#[derive(Debug, Args)]
pub(crate) struct EndToEnd {
    #[command(flatten)]
    store: StoreFlag,
    #[command(flatten)]
    bus: BusFlag,
    /// Workflows at full speed
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    workflows: u64,
    /// Workflows that are open at the same time at full speed
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    open: u64,
    /// Triggers per second while the latency is measured
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// How long the latency is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How the figures are shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Bench {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        match self.scenario {
            Scenario::Endtoend(scenario) => endtoend::run(&scenario, file).await,
            Scenario::Engine(scenario) => engine::run(&scenario.only, scenario.rounds, scenario.output),
        }
    }
}

/// Two digits after the point: more would be noise.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// The benchmark's own definition must be right.
fn own_definition(why: &str) -> Failure {
    Failure::new(Exit::Failed, "FS-BENCH", format!("its own definition: {why}"), "report this defect")
}
