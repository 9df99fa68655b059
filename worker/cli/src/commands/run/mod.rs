//! `flagstop run`: one instance, here and now, in this process, with the real clock and real effects.
//!
//! The output is alone on standard output; all that is said stands on standard error.

mod drive;
mod effects;
mod ended;
mod inputs;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use flagstop_engine::{Limits, Plan, value};
use flagstop_schemas::InstanceId;
use flagstop_solo::{Keep, Kill, Options, Scheduling, World};
use uuid::Uuid;

use crate::args::Output;
use crate::config::{Config, Flags};
use crate::definitions;
use crate::demo::script::{self, Script};
use crate::demo::services;
use crate::exit::{Exit, Failure};
use crate::node;
use crate::term::{Paint, Style};
use crate::time::now_us;
use drive::Drive;
use inputs::Events;

/// Runs one instance of a workflow in this process and prints its output. Exits 0 when it completed, 1 when it faulted,
/// 2 when something given is invalid, 3 when it was stopped before its end, 4 when it was cancelled.
#[derive(Debug, Args)]
pub struct Run {
    /// The definition to run; further ones are there to be called by it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The workflow's input: JSON, `@FILE`, or `-` for standard input [default: null]
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// CloudEvents in JSON format, one per line, given one by one as the workflow waits; `-` is standard input
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Where the status events go, one JSON line each; `-` is standard error
    #[arg(long, value_name = "FILE")]
    status: Option<PathBuf>,
    /// YAML or JSON file, or directory of files, with the secrets that the workflow uses (or `worker.secrets`)
    #[arg(long, value_name = "PATH")]
    secrets: Option<PathBuf>,
    /// Stop after this time: `PT30S`, `90s`, `5m`
    #[arg(long, value_name = "DURATION", value_parser = inputs::duration)]
    timeout: Option<std::time::Duration>,
    /// The catalog of functions that are called without naming one: a folder or a URL
    #[arg(long, value_name = "PLACE")]
    catalog: Option<String>,
    /// Let the workflow run command lines and scripts on this machine (or `worker.processes`)
    #[arg(long)]
    enable_processes: bool,
    /// How an error is shown; the output is JSON in any case
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Run {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        if self.input.as_deref() == Some("-") && self.events.as_deref().is_some_and(|path| path.as_os_str() == "-") {
            let what = "standard input can't be both the input and the events";
            return Err(Failure::new(Exit::Invalid, "FS-ARGUMENTS", what, "give one of them as a file"));
        }
        let mut config = Config::load(&Flags { file, secrets: self.secrets.as_deref(), ..Flags::default() })?;
        config.worker.processes |= self.enable_processes;
        let limits = Limits::default();
        let processes = flagstop_runtime::processes(&config.worker);
        let effects = effects::Effects::new(node::http(&config)?, processes);
        let mut secrets = node::secrets(&config)?.by_name().clone();
        if config.secrets.is_none() {
            let stand_ins = self.stand_ins().await?;
            secrets.extend(stand_ins.iter().map(|(name, secret)| (name.clone(), value::from_serde(secret))));
        }
        let plans = self.plans(&config).await?;
        let input = self.input.as_deref().map(|text| inputs::value(text, &limits)).transpose()?;
        let events = Events::open(self.events.as_deref(), &limits)?;
        let options =
            Options { secrets, limits, seed: Uuid::new_v4().as_u64_pair().0, kill: Kill::Never, keep: Keep::First };
        let mut world = World::new(options, now_us());
        begin(&mut world, &plans, input);
        let drive = Drive::new(world, events, status::Sink::open(self.status.as_deref())?, effects);
        let end = drive.run(self.timeout).await?;
        ended::tell(&end, self.output)
    }

    /// As in `dev`: without secrets of the user's, the services that the folder's `demo.yaml` stands in for.
    async fn stand_ins(&self) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
        let folder = self.files.first().and_then(|file| file.parent()).unwrap_or(Path::new("."));
        // One that can't be read is none of ours: only `dev` needs it to be right.
        let script = Script::read(folder).ok().flatten().unwrap_or_default();
        let secrets = services::start(&script.services).await?;
        if !secrets.is_empty() {
            let names: Vec<&str> = secrets.keys().map(String::as_str).collect();
            let note = format!(
                "{} stands in for {} (give `--secrets` to reach the real services)",
                folder.join(script::FILE).display(),
                names.join(", ")
            );
            eprintln!("{}", Paint::stderr().on(Style::Dim, &note));
        }
        Ok(secrets)
    }

    async fn plans(&self, config: &Config) -> Result<Vec<Arc<Plan>>, Failure> {
        let checked = definitions::check_whole(&self.files, config, self.catalog.as_deref()).await?;
        if checked.iter().any(|file| file.plan.is_none()) {
            definitions::print(&checked);
            return Err(Failure::shown(Exit::Invalid));
        }
        // It may go well without them: a task that needs one faults.
        let lacks = checked.iter().flat_map(|file| &file.lacks).filter(|_| self.output == Output::Table);
        lacks.for_each(|why| eprintln!("{}: {why}", Paint::stderr().on(Style::Wait, "warning")));
        Ok(checked.into_iter().filter_map(|file| file.plan).map(Arc::new).collect())
    }
}

/// With an input, or without a schedule, the first definition starts at once; so does what the clock would start. Else
/// events start it.
fn begin(world: &mut World, plans: &[Arc<Plan>], input: Option<value::Value>) {
    for plan in plans {
        world.deploy(plan.clone(), Scheduling::EventsOnly);
    }
    let Some(first) = plans.first() else { return };
    let is_for_the_clock = !first.schedule().timed().is_empty();
    if input.is_some() || first.schedule().is_empty() || is_for_the_clock {
        let of = first.reference();
        // Its requests carry keys that are made of this id: no two runs may share one.
        let id = InstanceId::of_trigger("/flagstop/run", &Uuid::new_v4().to_string(), &of.namespace, &of.name);
        world.start(first, id, input.unwrap_or(value::Value::Null));
    }
}
