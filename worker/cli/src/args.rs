//! The command line as it is typed. Help texts are written for somebody who has never seen Flagstop.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Durable workflows on the message broker and the database that you already run.
#[derive(Debug, Parser)]
#[command(name = "flagstop", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Configuration file; without it `flagstop.toml` of the current directory, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Configuration: flagstop.toml, then environment variables FLAGSTOP__SECTION__KEY (FLAGSTOP__STORE__URL, or
FLAGSTOP__STORE__URL_FILE for a file that holds it), then flags.

Exit codes: 0 done · 1 faulted or a check failed · 2 invalid definition, input, argument or configuration ·
3 stopped before its end · 4 cancelled · 5 store or bus not reachable · 6 no such instance or definition";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one instance of a workflow in this process and print its output
    Run(commands::run::Run),
    /// Run test files: virtual time, mocked calls, scripted events
    Test(commands::test::Test),
    /// Run a folder of workflows here and now: database, bus and worker in one process, events on the screen
    Dev(commands::dev::Dev),
    /// Run a worker: any number of them share one store and one bus
    Worker(commands::worker::WorkerCommand),
    /// Create or update the database schema
    Migrate(commands::migrate::Migrate),
    /// Check definitions and store them for the workers: all of them, or none
    Deploy(commands::deploy::Deploy),
    /// Publish CloudEvents to the bus, or to a `flagstop dev`
    Publish(commands::publish::Publish),
    /// Look at deployed definitions, disable and enable them
    Definitions(commands::definitions::Definitions),
    /// Look at messages that could not be carried out, and try them again
    DeadLetters(commands::dead_letters::DeadLetters),
    /// Look at early events that are kept for a waiter
    Parked(commands::parked::Parked),
    /// Look at the events of the journal, or follow them
    Events(commands::events::Events),
    /// Look at workflow instances
    Instances(commands::instances::Instances),
    /// Check definitions and show every mistake with its place and how to mend it
    Validate(commands::validate::Validate),
    /// Measure this build on your store and bus
    Bench(commands::bench::Bench),
    /// Write the JSON Schemas of events, commands and outputs to a folder
    Schemas(commands::schemas::Schemas),
    /// Describe what goes over the bus as an AsyncAPI document
    #[command(name = "asyncapi")]
    AsyncApi(commands::asyncapi::AsyncApi),
    /// Ask a worker's port whether it is ready
    Healthcheck(commands::healthcheck::Healthcheck),
    /// Print the configuration, or document its keys
    Config(commands::config::ConfigCommand),
}

/// `--store`
#[derive(Debug, Clone, Args)]
pub struct StoreFlag {
    /// The store: `postgres://user:password@host:5432/database` or `sqlite:PATH` (or `store.url`)
    #[arg(long, value_name = "URL", global = true)]
    pub store: Option<String>,
}

/// `--bus`
#[derive(Debug, Clone, Args)]
pub struct BusFlag {
    /// The bus: `amqp://user:password@host:5672`, `kafka://host:9092,host:9092` (or `bus.url`)
    #[arg(long, value_name = "URL")]
    pub bus: Option<String>,
}

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs; described by the JSON Schemas in schemas/cli
    Json,
}
