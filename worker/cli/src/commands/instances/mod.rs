//! `flagstop instances`: what runs, what waits, and why; and orders to one of them.

mod filter;
mod history;
mod list;
mod many;
mod order;
mod read;
mod show;
mod why;

use std::path::Path;

use clap::{Args, Subcommand};
use flagstop_runtime::Order;

use crate::args::{Output, StoreFlag};
use crate::config::{Config, Flags};
use crate::exit::Failure;
use crate::node;
use crate::term::print_line;

pub use history::events;
pub use read::find_id;
pub use why::{wait_json, wait_sentence, why_all};

/// Reads the store; needs no bus. Orders to an instance go into its mailbox, where a worker finds them.
#[derive(Debug, Args)]
pub struct Instances {
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
    /// The newest instances, children included
    List(list::List),
    /// One instance: its state, input, output, error and what it waits for
    Show(One),
    /// One instance's journal: each transition with its status events, the oldest first
    History(One),
    /// Why one instance does not go on: what it waits for, since and until when, and early events that do not fit
    Why(One),
    /// End one instance, or all that fit filters
    Cancel(many::Whom),
    /// Hold one instance, or all that fit filters: it begins nothing more; what comes for it meanwhile is kept
    Suspend(many::Whom),
    /// Let a suspended instance go on, or all that fit filters
    Continue(many::Whom),
    /// Let a faulted instance go on at the task that faulted, or all that fit filters
    Retry(many::Whom),
    /// Run what has ended once more, as a new instance with the same input
    Rerun(order::To),
}

/// `ID`
#[derive(Debug, Args)]
struct One {
    /// The instance's id, its beginning (of a recent one), or its business key
    id: String,
}

impl Instances {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags { file, store: self.store.store.as_deref(), ..Flags::default() })?;
        let store = node::open_current_store(&config).await?;
        let text = match self.command {
            Command::List(list) => list.run(&store, self.output).await?,
            Command::Show(one) => show::run(&store, &one.id, self.output).await?,
            Command::History(one) => history::run(&store, &one.id, self.output).await?,
            Command::Why(one) => why::run(&store, &one.id, self.output).await?,
            Command::Cancel(whom) => whom.run(&store, Order::Cancel, self.output).await?,
            Command::Suspend(whom) => whom.run(&store, Order::Suspend, self.output).await?,
            Command::Continue(whom) => whom.run(&store, Order::Continue, self.output).await?,
            Command::Rerun(to) => to.rerun(&store, self.output).await?,
            Command::Retry(whom) => whom.run(&store, Order::Retry, self.output).await?,
        };
        print_line(&text);
        store.close().await;
        Ok(())
    }
}
