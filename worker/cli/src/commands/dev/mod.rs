//! `flagstop dev`: everything in one process, or its demonstration.

mod presence;
mod reload;
mod revise;
mod serve;
mod trace;
mod welcome;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::demo::player::{self, Stage};
use crate::demo::script::Script;
use crate::demo::services;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::term::{Paint, Style};

/// Where data goes unless `--data` says otherwise, below the current directory.
const DATA_FOLDER: &str = ".flagstop";

/// Runs the workflows of a folder with a database (SQLite), a bus and a worker in this one process, and prints every
/// event that leaves. A folder with a `demo.yaml` plays it and ends; with `--no-demo` it serves until Ctrl-C. What is saved
/// meanwhile is deployed at once; a changed definition needs no new version here, and one whose file is deleted is disabled.
#[derive(Debug, Args)]
pub struct Dev {
    /// The folder with the definitions (*.yaml, *.yml, *.json)
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the data is kept across restarts [default: .flagstop/NAME]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Where events are taken over HTTP (`POST /events`): an address, or `off` [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Serve until Ctrl-C, even when the folder has a `demo.yaml`
    #[arg(long)]
    no_demo: bool,
    /// Use this store instead of SQLite in the data folder
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Use this bus instead of the one in the process
    #[arg(long, value_name = "URL")]
    bus: Option<String>,
    /// Secrets for the workflows (file or directory); without it, `demo.yaml` gives them and stands in for the services
    #[arg(long, value_name = "PATH")]
    secrets: Option<PathBuf>,
    /// How events are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Played by a demonstration: say nothing but what fails, stop when standard input is closed
    #[arg(long, hide = true)]
    child: bool,
}

/// How `dev` prints events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A readable line each
    Text,
    /// A CloudEvent in JSON format per line; the first line says that it is ready, and its source where
    Json,
}

impl Dev {
    /// Runs it.
    pub async fn run(self, config: Option<&Path>) -> Result<(), Failure> {
        if !self.dir.is_dir() {
            let what = format!("{}: no such folder", self.dir.display());
            return Err(Failure::new(Exit::Invalid, "FS-DEV-FOLDER", what, "name a folder with workflow definitions"));
        }
        let script = if self.child { None } else { Script::read(&self.dir)? };
        match script {
            Some(script) if !self.no_demo && !script.steps.is_empty() => self.play(&script, config).await,
            script => self.serve(script.as_ref(), config).await,
        }
    }

    async fn play(&self, script: &Script, config: Option<&Path>) -> Result<(), Failure> {
        let data = match &self.data {
            Some(data) => data.clone(),
            // Each showing begins with a clean slate; a folder that the user chose is left alone.
            None => emptied(Path::new(DATA_FOLDER).join(format!("{}-demo", self.name()?)))?,
        };
        let secrets = self.prepare(&data, Some(script)).await?;
        let store_url = self.store.clone().unwrap_or_else(|| serve::store_in(&data));
        let path = |path: &Path| path.display().to_string();
        let mut arguments = vec!["dev".into(), path(&self.dir), "--data".into(), path(&data)];
        let mut option = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|v| [name.to_owned(), v]).into_iter().flatten())
        };
        option("--http", Some("127.0.0.1:0".into()));
        option("--store", self.store.clone());
        option("--bus", self.bus.clone());
        option("--secrets", secrets.as_deref().map(path));
        option("--config", config.map(path));
        option("--output", Some("json".into()));
        arguments.push("--child".into());

        let paint = Paint::stderr();
        let dir = self.dir.display();
        eprintln!("flagstop dev: playing {dir}/demo.yaml (`--no-demo` serves the workflow until Ctrl-C instead)");
        let stage = Stage { arguments, store_url: store_url.clone(), config: config.map(Path::to_owned) };
        let mut signals = Signals::catch()?;
        tokio::select! {
            played = player::play(script, &stage) => played?,
            _ = signals.next() => return Err(Failure::shown(Exit::Stopped)),
        }
        let done = paint.on(Style::Good, "That was the whole life of a workflow, with a restart in the middle.");
        eprintln!("\n{done} Next:");
        let me = me();
        eprintln!("  {me} instances list --store {}", crate::config::shown_url(&store_url));
        eprintln!("  {me} dev {dir} --no-demo          and publish events of your own");
        if self.bus.is_none() {
            eprintln!(
                "  {me} dev {dir} --bus amqp://127.0.0.1:5672 --store postgres://…   the same on your own services"
            );
        }
        Ok(())
    }

    async fn serve(&self, script: Option<&Script>, config: Option<&Path>) -> Result<(), Failure> {
        let data = match &self.data {
            Some(data) => data.clone(),
            None => Path::new(DATA_FOLDER).join(self.name()?),
        };
        let secrets = self.prepare(&data, script).await?;
        serve::serve(&serve::Plan { dev: self, data, secrets, script, config }).await
    }

    /// Makes the data folder, and the stand-ins with the secrets that lead to them, unless the user has secrets.
    async fn prepare(&self, data: &Path, script: Option<&Script>) -> Result<Option<PathBuf>, Failure> {
        std::fs::create_dir_all(data).map_err(|error| folder(data, &error))?;
        let services = script.map(|script| script.services.as_slice()).unwrap_or_default();
        if self.secrets.is_some() || services.is_empty() {
            return Ok(self.secrets.clone());
        }
        let secrets = serde_json::Value::Object(services::start(services).await?);
        let file = data.join("secrets.json");
        std::fs::write(&file, secrets.to_string()).map_err(|error| folder(&file, &error))?;
        Ok(Some(file))
    }

    /// The folder's name, also when it is `.`.
    fn name(&self) -> Result<String, Failure> {
        let whole = self.dir.canonicalize().map_err(|error| folder(&self.dir, &error))?;
        Ok(whole.file_name().map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned()))
    }
}

fn emptied(data: PathBuf) -> Result<PathBuf, Failure> {
    match std::fs::remove_dir_all(&data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(folder(&data, &error)),
        _ => Ok(data),
    }
}

fn folder(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("{}: {error}", path.display());
    Failure::new(Exit::Invalid, "FS-DEV-FOLDER", what, "choose a writable folder with `--data PATH`")
}

/// How the user calls this program.
pub fn me() -> &'static str {
    if std::env::var_os("CARGO").is_some() { "cargo run --" } else { "flagstop" }
}
