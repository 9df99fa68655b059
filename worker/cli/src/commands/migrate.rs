//! `flagstop migrate`: brings the schema up to date, or says whether it is.

use std::path::Path;

use clap::Args;
use flagstop_store::port::SchemaState;
use serde_json::json;

use crate::args::{Output, StoreFlag};
use crate::config::{Config, Flags};
use crate::exit::{Exit, Failure};
use crate::node;
use crate::term::print_line;

/// Creates or updates the database schema. Safe to repeat, and to run from several places at once.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    store: StoreFlag,
    /// Change nothing; exit 1 when the schema is not what this build needs
    #[arg(long)]
    check: bool,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Migrate {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags { file, store: self.store.store.as_deref(), ..Flags::default() })?;
        let store = node::open_store(&config).await?;
        let steps = if self.check { Vec::new() } else { store.migrate().await? };
        let (state, why, hint) = match store.schema().await? {
            SchemaState::Current => ("current", None, ""),
            SchemaState::Behind(why) => ("behind", Some(why), "run `flagstop migrate` without `--check`"),
            SchemaState::Ahead(why) => ("ahead", Some(why), "use the build that migrated it, or a newer one"),
        };
        store.close().await;
        match self.output {
            Output::Json => print_line(&json!({ "state": state, "why": why, "steps": steps }).to_string()),
            Output::Table => {
                steps.iter().for_each(|step| print_line(step));
                if why.is_none() {
                    eprintln!("the schema is current");
                }
            }
        }
        match why {
            None => Ok(()),
            Some(why) => {
                Err(Failure::new(Exit::Failed, "FS-STORE-SCHEMA", format!("the schema is {state}: {why}"), hint))
            }
        }
    }
}
