//! `flagstop`, the command line. Standard output is data, standard error is talk.
//!
//! Here only: parse the arguments, run the command, print what failed, exit with its code.

mod args;
mod commands;
mod config;
mod confirm;
mod definitions;
mod demo;
mod events;
mod exit;
mod globs;
mod http;
mod live;
mod node;
mod signals;
mod term;
mod time;
mod value;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use exit::{Exit, Failure};
use term::Paint;

/// A worker makes many small, short-lived values: the system's allocator spent more than a third of the engine's time, and kept
/// several times the memory that was in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Workers' logs tell what they do; the other commands speak for themselves.
    let usual = if matches!(cli.command, Command::Worker(_)) { "info" } else { "error" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(Paint::stderr().is_on())
        .init();
    // The only provider that is linked in; a second installation is refused, and does no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();

    match run(cli) {
        Ok(()) => ExitCode::from(Exit::Done as u8),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::coded(Exit::Failed, &format!("FS-RUNTIME: {error}"), None))?;
    let config = cli.config.as_deref();
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(command) => command.run(config).await,
            Command::Test(command) => command.run(),
            Command::Dev(command) => command.run(config).await,
            Command::Worker(command) => command.run(config).await,
            Command::Migrate(command) => command.run(config).await,
            Command::Deploy(command) => command.run(config).await,
            Command::Publish(command) => command.run(config).await,
            Command::Definitions(command) => command.run(config).await,
            Command::DeadLetters(command) => command.run(config).await,
            Command::Parked(command) => command.run(config).await,
            Command::Events(command) => command.run(config).await,
            Command::Instances(command) => command.run(config).await,
            Command::Validate(command) => command.run(config).await,
            Command::Bench(command) => command.run(config).await,
            Command::Schemas(command) => command.run(),
            Command::AsyncApi(command) => command.run(config).await,
            Command::Healthcheck(command) => command.run().await,
            Command::Config(command) => command.run(config),
        }
    });
    // A read of standard input under way would hold an orderly shutdown for ever.
    runtime.shutdown_background();
    result
}
