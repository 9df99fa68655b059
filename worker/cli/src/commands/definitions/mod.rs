//! `flagstop definitions`: what is deployed, and which of it takes new triggers.

mod change;
mod read;
mod show;

use std::path::Path;

use clap::{Args, Subcommand};
use flagstop_store::port::Enabled;

use crate::args::{Output, StoreFlag};
use crate::config::{Config, Flags};
use crate::confirm::Consent;
use crate::exit::Failure;
use crate::node;
use crate::term::print_line;

/// Reads the store; needs no bus. The highest enabled version of a name takes new events and owns the schedules; running
/// instances always stay on the version that they began with.
#[derive(Debug, Args)]
pub struct Definitions {
    #[command(flatten)]
    store: StoreFlag,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All deployed versions
    List,
    /// One version: what starts it, what it hears and emits, and its text
    Show(Which),
    /// Start nothing new by a version, or by all versions of a name: no event, no schedule; running instances go on
    Disable(Many),
    /// Let them start instances again
    Enable(Many),
}

/// `NAMESPACE/NAME [VERSION]`
#[derive(Debug, Args)]
struct Which {
    /// The definition's namespace and name, such as hr/onboarding
    #[arg(value_name = "NAMESPACE/NAME")]
    name: String,
    /// The version; without it the one that takes new triggers, or all of them where many are meant
    #[arg(id = "which version", value_name = "VERSION")]
    version: Option<String>,
}

/// One version or many.
#[derive(Debug, Args)]
struct Many {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    consent: Consent,
}

impl Definitions {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags { file, store: self.store.store.as_deref(), ..Flags::default() })?;
        let store = node::open_current_store(&config).await?;
        let text = match self.command {
            Command::List => read::list(&store, self.output).await?,
            Command::Show(which) => show::run(&store, &which, self.output).await?,
            Command::Disable(many) => change::run(&store, &many, Enabled::No, self.output).await?,
            Command::Enable(many) => change::run(&store, &many, Enabled::Yes, self.output).await?,
        };
        print_line(&text);
        store.close().await;
        Ok(())
    }
}
