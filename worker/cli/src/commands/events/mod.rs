//! `flagstop events`: what the journal holds, as the CloudEvents that left or will leave.

mod follow;
mod pattern;
mod streams;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use flagstop_schemas::{CloudEvent, InstanceId};
use flagstop_store::port::Store;
use serde_json::Value;

use crate::args::{Output, StoreFlag};
use crate::commands::instances;
use crate::config::{Config, Flags};
use crate::exit::Failure;
use crate::live;
use crate::node;
use crate::signals::Signals;
use crate::term::{Paint, print_line};
use crate::time::since;

use follow::{Back, Follow};
use pattern::Pattern;

/// Reads the store; needs no bus. Status events, emitted events and answers to commands in the order of the journal, which keeps
/// the order of each instance.
#[derive(Debug, Args)]
pub struct Events {
    #[command(flatten)]
    store: StoreFlag,
    /// How the result is shown: a line each, or JSON
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The newest events, the oldest of them first
    List(List),
    /// Events as they are committed, until Ctrl-C; in JSON one per line
    Tail(Tail),
    /// Instances whose events are held back because the broker finds one of them wrong
    Quarantined(streams::List),
    /// Publish what was held back, in order, once the cause is mended
    Release(streams::Release),
}

/// Which events.
#[derive(Debug, Args)]
struct Which {
    /// Only types that fit, separated by commas: `workflow.*`, `task.faulted`, `command.rejected`, `com.example.*`
    #[arg(long = "type", value_name = "PATTERN", value_delimiter = ',')]
    types: Vec<Pattern>,
    /// Only events of this instance's own journal: its id, its beginning (of a recent one), or its business key. An answer to a
    /// command is in it when the command changed the instance while it ran
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Only events that were committed since: a time (2026-11-21T10:00:00Z) or how long ago (30m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<i64>,
}

/// `list`
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    which: Which,
    /// At most this many, the newest; 0 = all
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// `tail`
#[derive(Debug, Args)]
struct Tail {
    #[command(flatten)]
    which: Which,
}

impl Events {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags { file, store: self.store.store.as_deref(), ..Flags::default() })?;
        let store = node::open_current_store(&config).await?;
        match &self.command {
            Command::List(list) => print_line(&list.run(&store, self.output).await?),
            Command::Tail(tail) => tail.run(&store, self.output).await?,
            Command::Quarantined(list) => print_line(&list.run(&store, self.output).await?),
            Command::Release(release) => print_line(&release.run(&store, self.output).await?),
        }
        store.close().await;
        Ok(())
    }
}

impl Which {
    async fn whose(&self, store: &Arc<dyn Store>) -> Result<Whose, Failure> {
        match &self.instance {
            Some(text) => Ok(Some(instances::find_id(store, text).await?)),
            None => Ok(None),
        }
    }

    fn wants(&self, event: &CloudEvent) -> bool {
        self.types.is_empty() || self.types.iter().any(|pattern| pattern.fits(&event.ty))
    }
}

impl List {
    async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let mut newest: VecDeque<CloudEvent> = VecDeque::new();
        let mut take = |event: CloudEvent| {
            newest.extend(Some(event).filter(|event| self.which.wants(event)));
            if self.limit > 0 && newest.len() > self.limit {
                newest.pop_front();
            }
        };
        let since_us = self.which.since;
        if let Some(instance) = self.which.whose(store).await? {
            // All of one instance is found by itself, however far back it is in the journal.
            for row in store.history(instance).await?.iter().filter(|row| since_us.is_none_or(|at| row.at_us >= at)) {
                instances::events(row)?.into_iter().for_each(&mut take);
            }
        } else {
            let back = Back { since_us, enough: (self.limit > 0).then_some(self.limit) };
            let mut follow = Follow::back(store, None, back, |event| self.which.wants(event)).await?;
            while let Some(page) = follow.next_page().await? {
                page.into_iter().for_each(&mut take);
            }
        }
        let paint = Paint::stdout();
        Ok(match output {
            Output::Json => Value::Array(newest.iter().map(json).collect()).to_string(),
            Output::Table => newest.iter().map(|event| live::line(event, paint)).collect::<Vec<_>>().join("\n"),
        })
    }
}

impl Tail {
    async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<(), Failure> {
        let mut signals = Signals::catch()?;
        let whose = self.which.whose(store).await?;
        let mut follow = match self.which.since {
            Some(_) => {
                let back = Back { since_us: self.which.since, enough: None };
                Follow::back(store, whose, back, |_| true).await?
            }
            None => Follow::now(store, whose).await?,
        };
        loop {
            let page = tokio::select! {
                page = follow.wait_page() => page?,
                _ = signals.next() => return Ok(()),
            };
            for event in page.into_iter().filter(|event| self.which.wants(event)) {
                match output {
                    Output::Json => print_line(&event.to_json()),
                    Output::Table => print_line(&live::line(&event, Paint::stdout())),
                }
            }
        }
    }
}

fn json(event: &CloudEvent) -> Value {
    serde_json::from_str(&event.to_json()).unwrap_or_default()
}

/// Whose events are followed.
type Whose = Option<InstanceId>;
