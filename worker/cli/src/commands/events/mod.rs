//! `flagstop events`: what the journal holds, as the CloudEvents that left or will leave.

mod follow;
mod pattern;

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
use crate::time::{now_us, since};

use follow::Follow;
use pattern::Pattern;

/// Reads the store; needs no bus. Status events and emitted events in the order of the journal, which keeps the order of each
/// instance.
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
}

/// Which events.
#[derive(Debug, Args)]
struct Which {
    /// Only types that fit, separated by commas: `workflow.*`, `task.faulted`, `com.example.*`
    #[arg(long = "type", value_name = "PATTERN", value_delimiter = ',')]
    types: Vec<Pattern>,
    /// Only events of this instance: its id, its beginning (of a recent one), or its business key
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
        }
        store.close().await;
        Ok(())
    }
}

impl Which {
    async fn follow(&self, store: &Arc<dyn Store>, since_us: Option<i64>) -> Result<Follow, Failure> {
        let instance = match &self.instance {
            Some(text) => Some(instances::find_id(store, text).await?),
            None => None,
        };
        Ok(Follow::new(store.clone(), instance, since_us))
    }

    fn wants(&self, event: &CloudEvent) -> bool {
        self.types.is_empty() || self.types.iter().any(|pattern| pattern.fits(&event.ty))
    }
}

impl List {
    async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let mut follow = self.which.follow(store, self.which.since).await?;
        let mut newest: VecDeque<CloudEvent> = VecDeque::new();
        while let Some(page) = follow.next_page().await? {
            for event in page.into_iter().filter(|event| self.which.wants(event)) {
                newest.push_back(event);
                if self.limit > 0 && newest.len() > self.limit {
                    newest.pop_front();
                }
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
        let begun_us = self.which.since.unwrap_or_else(now_us);
        let mut follow = self.which.follow(store, Some(begun_us)).await?;
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
