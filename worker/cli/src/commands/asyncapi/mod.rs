//! `flagstop asyncapi`: what goes over the bus, as an AsyncAPI 3 document for programs and for people.

mod broker;
mod document;
mod yaml;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flagstop_engine::{Bundle, Limits, Plan};
use flagstop_store::rows::DefinitionRow;

use crate::args::StoreFlag;
use crate::config::{Config, Flags};
use crate::definitions;
use crate::exit::{Exit, Failure};
use crate::node;
use crate::term::print_line;

use broker::Broker;
use document::Document;

/// Writes an AsyncAPI 3 document to standard output: status events, commands and their answers, dead letters, and of each
/// workflow the events that it hears and emits. The workflows are those of a store, without disabled versions, or those in
/// files; without either, only what all workflows share is described.
#[derive(Debug, Args)]
pub struct AsyncApi {
    #[command(flatten)]
    store: StoreFlag,
    /// Definition files, folders of them, or patterns, instead of a store
    #[arg(value_name = "FILE", conflicts_with = "store")]
    files: Vec<PathBuf>,
    /// Only these brokers, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Broker::Rabbitmq, Broker::Kafka])]
    bus: Vec<Broker>,
    /// The form of the document
    #[arg(long, value_enum, default_value_t = Form::Yaml)]
    output: Form,
}

/// The forms of an AsyncAPI document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// YAML
    Yaml,
    /// JSON
    Json,
}

impl AsyncApi {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags { file, store: self.store.store.as_deref(), ..Flags::default() })?;
        let plans = if !self.files.is_empty() {
            of_files(&self.files)?
        } else if config.store_url().is_ok() {
            of_store(&config).await?
        } else {
            Vec::new()
        };
        let mut document = Document::new(&config, &self.bus);
        plans.iter().for_each(|plan| document.add(plan));
        let document = document.finish();
        match self.output {
            Form::Yaml => print_line(yaml::to_yaml(&document).trim_end()),
            Form::Json => print_line(&format!("{document:#}")),
        }
        Ok(())
    }
}

fn of_files(files: &[PathBuf]) -> Result<Vec<Plan>, Failure> {
    let checked = definitions::check(files)?;
    if checked.iter().any(|file| file.plan.is_none()) {
        definitions::print(&checked);
        return Err(Failure::shown(Exit::Invalid));
    }
    Ok(checked.into_iter().filter_map(|file| file.plan).collect())
}

async fn of_store(config: &Config) -> Result<Vec<Plan>, Failure> {
    let store = node::open_current_store(config).await?;
    let (_, rows) = store.definitions(0).await?;
    store.close().await;
    rows.iter().filter(|row| row.enabled).map(compiled).collect()
}

fn compiled(row: &DefinitionRow) -> Result<Plan, Failure> {
    let newer = |why: String| {
        let what = format!("{}/{} {}: {why}", row.namespace, row.name, row.version);
        Failure::new(Exit::Failed, "FS-DEFINITION", what, "use the build that deployed it, or a newer one")
    };
    let bundle = Bundle::decode(&row.bundle).map_err(|why| newer(why.to_string()))?;
    Plan::compile_with(&row.source, &bundle, &Limits::default())
        .map_err(|why| newer(why.render(&row.name, &String::from_utf8_lossy(&row.source))))
}
