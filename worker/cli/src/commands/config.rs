//! `flagstop config`: what is configured, and what can be.

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::args::{BusFlag, StoreFlag};
use crate::config::{self, Config, Flags};
use crate::exit::{Exit, Failure};
use crate::term::print_line;

/// Prints the configuration as file, environment and flags give it together, without secrets.
#[derive(Debug, Args)]
pub struct ConfigCommand {
    #[command(flatten)]
    store: StoreFlag,
    #[command(flatten)]
    bus: BusFlag,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Toml)]
    output: Form,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every key with its default, its unit and its meaning, as Markdown
    Reference,
}

/// The forms of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// As a file that `--config` takes
    Toml,
    /// For programs; described by the JSON Schemas in schemas/cli
    Json,
}

impl ConfigCommand {
    /// Runs it.
    pub fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        if let Some(Command::Reference) = self.command {
            let text = config::reference().map_err(|missing| {
                let what = format!("keys without a meaning: {}", missing.join(", "));
                Failure::new(Exit::Failed, "FS-CONFIG-REFERENCE", what, "report this: it is a defect of this build")
            })?;
            print_line(text.trim_end());
            return Ok(());
        }
        let flags =
            Flags { file, store: self.store.store.as_deref(), bus: self.bus.bus.as_deref(), ..Flags::default() };
        let tree = Config::shown(&flags)?;
        match self.output {
            Form::Json => print_line(&format!("{tree:#}")),
            Form::Toml => {
                let text = toml::to_string(&without_nulls(tree))
                    .map_err(|error| Failure::coded(Exit::Failed, &format!("FS-CONFIG-VALUE: {error}"), None))?;
                print_line(text.trim_end());
            }
        }
        Ok(())
    }
}

/// TOML has no null: a key without a value is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}
