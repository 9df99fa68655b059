//! `flagstop deploy`: all definitions, or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use flagstop_store::port::Store;
use flagstop_store::rows::DefinitionRow;
use serde_json::json;

use crate::args::{Output, StoreFlag};
use crate::config::{Config, Flags};
use crate::definitions::{self, Checked};
use crate::exit::{Exit, Failure};
use crate::node;
use crate::term::print_line;

/// Checks the definitions and stores them for the workers. When one is wrong, none is deployed. Deploying the same
/// content again changes nothing; a changed definition needs a new version. What the definitions name elsewhere (functions,
/// schemas, API descriptions) is fetched now and stored with them.
#[derive(Debug, Args)]
pub struct Deploy {
    #[command(flatten)]
    store: StoreFlag,
    /// The catalog of functions that are called without naming one: a folder or a URL
    #[arg(long, value_name = "FOLDER|URL")]
    catalog: Option<String>,
    /// Secrets (file or directory) for documents that ask who fetches them
    #[arg(long, value_name = "PATH")]
    secrets: Option<PathBuf>,
    /// Definition files, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Deploy {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let (store, secrets) = (self.store.store.as_deref(), self.secrets.as_deref());
        let config = Config::load(&Flags { file, store, secrets, ..Flags::default() })?;
        config.store_url()?;
        let checked = definitions::check_whole(&self.files, &config, self.catalog.as_deref()).await?;
        if !definitions::print(&checked) {
            self.print(&checked, &[]);
            eprintln!("nothing was deployed");
            return Err(Failure::shown(Exit::Invalid));
        }
        let store = node::open_current_store(&config).await?;
        self.print(&checked, &deploy(&store, &checked).await?);
        store.close().await;
        Ok(())
    }

    fn print(&self, checked: &[Checked], rows: &[DefinitionRow]) {
        match self.output {
            Output::Table => {
                rows.iter().for_each(|row| print_line(&format!("{}/{} {}", row.namespace, row.name, row.version)))
            }
            Output::Json => {
                let definition = |row: &DefinitionRow| json!({ "namespace": row.namespace, "name": row.name, "version": row.version });
                let rows: Vec<_> = rows.iter().map(definition).collect();
                print_line(&json!({ "files": definitions::json(checked), "definitions": rows }).to_string());
            }
        }
    }
}

/// Deploys what has been checked.
pub async fn deploy(store: &Arc<dyn Store>, checked: &[Checked]) -> Result<Vec<DefinitionRow>, Failure> {
    let rows = checked.iter().filter_map(|file| {
        let plan = file.plan.as_ref()?;
        Some(flagstop_runtime::bundled_row(plan, &file.source, &file.bundle))
    });
    Ok(store.deploy(&rows.collect::<Vec<_>>()).await?)
}
