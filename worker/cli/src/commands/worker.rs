//! `flagstop worker`: runs until it is told to stop, then drains.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::args::{BusFlag, StoreFlag};
use crate::config::{Config, Flags, shown_url};
use crate::exit::Failure;
use crate::http::health::Patient;
use crate::http::server::{self, Site};
use crate::node::{self, Node};
use crate::signals::Signals;

/// Runs a worker until SIGTERM or Ctrl-C; then it finishes what is under way (at most `worker.grace_ms`) and leaves. A
/// second signal ends it at once; other workers take over what it held.
#[derive(Debug, Args)]
pub struct WorkerCommand {
    #[command(flatten)]
    store: StoreFlag,
    #[command(flatten)]
    bus: BusFlag,
    /// YAML or JSON file, or directory of files, with the secrets that workflows use (or `worker.secrets`)
    #[arg(long, value_name = "PATH")]
    secrets: Option<PathBuf>,
    /// Serve `/healthz/live`, `/healthz/ready` and `/metrics` at this address, such as 0.0.0.0:9090; without it no port
    /// is opened
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
}

impl WorkerCommand {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let config = Config::load(&Flags {
            file,
            store: self.store.store.as_deref(),
            bus: self.bus.bus.as_deref(),
            secrets: self.secrets.as_deref(),
        })?;
        let mut signals = Signals::catch()?;
        let patient = Patient::default();
        // From the beginning: an orchestrator asks while the worker still looks for its store.
        if let Some(http) = &self.http {
            let listener = server::listen(http).await?;
            let address = listener.local_addr().map_err(|error| server::no_port(http, &error))?;
            eprintln!("flagstop worker: health and metrics at http://{address}");
            tokio::spawn(server::serve(listener, Site { patient: patient.clone(), ingest: None }));
        }
        let node = tokio::select! {
            node = start(&config) => node?,
            _ = signals.next() => return Ok(()),
        };
        // Set once, here.
        let _ = patient.set(node.vitals());
        eprintln!(
            "flagstop worker {} ready: store {}, bus {}",
            node.id(),
            shown_url(config.store_url()?),
            shown_url(config.bus_url()?)
        );
        let name = signals.next().await;
        eprintln!("flagstop worker: {name}: finishing what is under way, at most {} s", config.grace.as_secs());
        signals.next_leaves();
        node.stop(&config, async {}).await;
        eprintln!("flagstop worker: left");
        Ok(())
    }
}

async fn start(config: &Config) -> Result<Node, Failure> {
    // Whatever is missing in the configuration is said before anything is opened.
    config.store_url()?;
    config.bus_url()?;
    let store = node::open_current_store(config).await?;
    let bus = node::open_bus(config).await?;
    let prepared = bus.prepare(config.bus.declare).await?;
    for warning in prepared.warnings.into_iter().chain(config.worker.warnings_about(&prepared.kept)) {
        tracing::warn!("{warning}");
    }
    Node::start(store, bus, config).await
}
