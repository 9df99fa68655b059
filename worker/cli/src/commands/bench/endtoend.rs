//! The end-to-end scenario: prepares the ground, runs the load, and shows the figures.

use std::path::Path;
use std::time::Duration;

use flagstop_engine::Plan;
use flagstop_store::port::Counters;
use serde_json::{Value, json};

use super::load::Load;
use super::workflow::{DEFINITION, Messages};
use super::{EndToEnd, own_definition, round};
use crate::args::Output;
use crate::config::{Config, Flags};
use crate::exit::Failure;
use crate::node::{self, Node};

/// Workflows before anything is measured.
const WARM_UP: u64 = 500;

pub(super) async fn run(scenario: &EndToEnd, file: Option<&Path>) -> Result<(), Failure> {
    let mut config = Config::load(&Flags {
        file,
        store: scenario.store.store.as_deref(),
        bus: scenario.bus.bus.as_deref(),
        ..Flags::default()
    })?;
    let own = format!("bench_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    config.store.schema.clone_from(&own);
    config.bus.prefix = format!("{own}.");
    let store = node::open_store(&config).await?;
    store.migrate().await?;
    let plan = Plan::compile(DEFINITION.as_bytes(), &config.worker.engine);
    let plan = plan.map_err(|why| own_definition(&why.to_string()))?;
    store.deploy(&[flagstop_runtime::definition_row(&plan, DEFINITION.as_bytes())]).await?;
    let bus = node::open_bus(&config).await?;
    bus.prepare(true).await?;
    // The load generator has a connection of its own, as a real sender would.
    let sender = if config.bus_url()?.starts_with("embedded:") { bus.clone() } else { node::open_bus(&config).await? };
    let mut load = Load::new(sender.clone(), Messages::new()).await?;
    let node = Node::start(store.clone(), bus, &config).await?;
    eprintln!(
        "flagstop bench endtoend: {} workflows at full speed, then {}/s for {} s",
        scenario.workflows, scenario.rate, scenario.seconds
    );
    load.full_speed(WARM_UP, scenario.open).await?;
    let before = (store.counters(), node.counters());
    let took = load.full_speed(scenario.workflows, scenario.open).await?;
    let after = (store.counters(), node.counters());
    let latencies = load.steady(scenario.rate, scenario.seconds).await?;
    let batches = after.1.batches - before.1.batches;
    let transitions = after.1.transitions - before.1.transitions;
    let figures = figures(scenario, &config, took, &latencies, (before.0, after.0), batches)?;
    node.stop(&config, async {}).await;
    sender.close().await;
    match scenario.output {
        Output::Json => println!("{figures}"),
        Output::Table => show(&figures, transitions as f64 / batches.max(1) as f64),
    }
    Ok(())
}

fn figures(
    scenario: &EndToEnd,
    config: &Config,
    took: Duration,
    latencies: &[Duration],
    (before, after): (Counters, Counters),
    batches: u64,
) -> Result<Value, Failure> {
    let per_batch = |n: u64| round(n as f64 / batches.max(1) as f64);
    let at = |share: f64| {
        let index = ((latencies.len() - 1) as f64 * share).round() as usize;
        round(latencies[index].as_secs_f64() * 1_000.0)
    };
    let bus = match config.bus_url()?.split(':').next() {
        Some("kafka") => "kafka",
        Some("embedded") => "embedded",
        _ => "rabbitmq",
    };
    let store = if config.store_url()?.starts_with("postgres") { "postgres" } else { "sqlite" };
    Ok(json!({
        "scenario": "endtoend",
        "bus": bus,
        "store": store,
        "workflows": scenario.workflows,
        "seconds": round(took.as_secs_f64()),
        "workflowsPerSecond": round(scenario.workflows as f64 / took.as_secs_f64()),
        "latency": { "ratePerSecond": scenario.rate, "p50Ms": at(0.5), "p99Ms": at(0.99) },
        "statementsPerBatch": per_batch(after.statements - before.statements),
        "roundTripsPerBatch": per_batch(after.round_trips - before.round_trips),
        "memoryBytes": memory_bytes_max(),
    }))
}

fn show(figures: &Value, transitions_per_batch: f64) {
    let latency = &figures["latency"];
    println!("bus                    {}", figures["bus"].as_str().unwrap_or_default());
    println!("store                  {}", figures["store"].as_str().unwrap_or_default());
    println!("workflows per second   {}", figures["workflowsPerSecond"]);
    println!(
        "latency at {:>4}/s      p50 {} ms, p99 {} ms",
        latency["ratePerSecond"], latency["p50Ms"], latency["p99Ms"]
    );
    println!("statements per batch   {}", figures["statementsPerBatch"]);
    println!("round trips per batch  {}", figures["roundTripsPerBatch"]);
    println!("transitions per batch  {}", round(transitions_per_batch));
    println!("memory at its highest  {} MiB", figures["memoryBytes"].as_u64().unwrap_or_default() >> 20);
}

/// The process's resident memory at its highest, where the system tells it; 0 elsewhere.
fn memory_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
