//! `flagstop dead-letters`: messages that could not be carried out, and trying them again.

mod list;
mod read;
mod redrive;
mod show;

use std::path::Path;

use clap::{Args, Subcommand};

use crate::args::{Output, StoreFlag};
use crate::config::{Config, Flags};
use crate::exit::Failure;
use crate::node;
use crate::term::print_line;

/// Reads the store; needs no bus.
#[derive(Debug, Args)]
pub struct DeadLetters {
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
    /// The newest letters
    List(list::List),
    /// One letter whole: its reason, its headers, its body
    Show(show::Show),
    /// Give messages to the workers again as they came, once what was wrong is mended
    Redrive(redrive::Redrive),
}

impl DeadLetters {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags { file, store: self.store.store.as_deref(), ..Flags::default() })?;
        let store = node::open_current_store(&config).await?;
        let text = match self.command {
            Command::List(list) => list.run(&store, self.output).await?,
            Command::Show(show) => show.run(&store, self.output).await?,
            Command::Redrive(redrive) => redrive.run(&store, &config, self.output).await?,
        };
        print_line(&text);
        store.close().await;
        Ok(())
    }
}
