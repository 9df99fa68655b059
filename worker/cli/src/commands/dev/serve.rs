//! The one process of `dev`: store, bus, worker, HTTP port and the live log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use flagstop_schemas::Data;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::presence::Presence;
use super::reload::{self, Folder};
use super::trace::{self, Trace};
use super::{Dev, Format, revise, welcome};
use crate::config::{Config, Flags, shown_url};
use crate::definitions::{self, Checked};
use crate::demo::script::Script;
use crate::events;
use crate::exit::{Exit, Failure};
use crate::http::api::Ingest;
use crate::http::server::{self, Site};
use crate::live::READY_TYPE;
use crate::node::{self, Node};
use crate::signals::Signals;

/// Where events are taken unless `--http` says otherwise.
const HTTP_DEFAULT: &str = "127.0.0.1:8080";

/// Any port that is free.
const HTTP_FREE: &str = "127.0.0.1:0";

/// What to serve.
pub struct Plan<'a> {
    /// The arguments.
    pub dev: &'a Dev,
    /// The data folder; it exists.
    pub data: PathBuf,
    /// Secrets, the user's or the stand-ins'.
    pub secrets: Option<PathBuf>,
    /// The folder's demonstration, for examples.
    pub script: Option<&'a Script>,
    /// `--config`
    pub config: Option<&'a Path>,
}

/// The store's URL in a data folder.
pub fn store_in(data: &Path) -> String {
    format!("sqlite:{}", data.join("store.db").display())
}

/// Serves until a signal, or until standard input is closed when a demonstration plays.
pub async fn serve(plan: &Plan<'_>) -> Result<(), Failure> {
    let dev = plan.dev;
    let mut signals = Signals::catch()?;
    let _lock = lock(&plan.data)?;
    let store_url = dev.store.clone().unwrap_or_else(|| store_in(&plan.data));
    let bus_url = dev.bus.clone().unwrap_or_else(|| format!("embedded:{}", plan.data.join("bus.db").display()));
    let config = Config::load(&Flags {
        file: plan.config,
        store: Some(&store_url),
        bus: Some(&bus_url),
        secrets: plan.secrets.as_deref(),
    })?;

    let store = node::open_store(&config).await?;
    let folder = Folder { dir: &dev.dir, data: &plan.data, config: &config, store: store.clone() };
    let seen = folder.shape();
    let checked = checked(&dev.dir, &config).await?;
    store.migrate().await?;
    revise::deploy(&store, &checked).await?;
    let mut presence = Presence::read(&plan.data, &shown_url(&store_url));
    let here = presence.look(&checked);
    reload::tell(&presence.settle(&store, here).await?);
    let bus = node::open_bus(&config).await?;
    bus.prepare(config.bus.declare).await?;
    let listener = listen(dev.http.as_deref()).await?;
    let address = match &listener {
        Some(listener) => Some(listener.local_addr().map_err(|e| server::no_port(HTTP_DEFAULT, &e))?),
        None => None,
    };
    let trace = Trace::start(&bus, dev.output).await?;
    let node = Node::start(store, bus.clone(), &config).await?;
    if let Some(listener) = listener {
        let patient = Arc::new(OnceLock::from(node.vitals()));
        let ingest = Some(Ingest::new(bus, config.worker.codec));
        tokio::spawn(server::serve(listener, Site { patient, ingest }));
    }

    let base = address.map(|address| format!("http://{address}"));
    if dev.output == Format::Json {
        let source = base.as_deref().unwrap_or("/flagstop/dev");
        trace::event_line(&events::new(READY_TYPE, source, None, None, Data::Absent), Format::Json);
    }
    if !dev.child {
        welcome::print(plan, &checked, base.as_deref(), &config)?;
    }
    let why = tokio::select! {
        name = signals.next() => name,
        () = input_closed(), if dev.child => "end of input",
        () = folder.watch(seen, presence) => "end of watching",
    };
    signals.next_leaves();
    if !dev.child {
        eprintln!("\nflagstop dev: {why}: stopping; what waits goes on at the next start");
    }
    node.stop(&config, trace.finish()).await;
    Ok(())
}

async fn checked(dir: &Path, config: &Config) -> Result<Vec<Checked>, Failure> {
    let files = definitions::in_folder(dir)?;
    if files.is_empty() {
        let what = format!("{}: no workflow definition here", dir.display());
        let hint =
            "a definition is a YAML or JSON file with a `document` at the top; try `flagstop dev examples/onboarding`";
        return Err(Failure::new(Exit::Invalid, "FS-DEV-EMPTY", what, hint));
    }
    let checked = definitions::check_whole(&files, config, None).await?;
    if definitions::print(&checked) { Ok(checked) } else { Err(Failure::shown(Exit::Invalid)) }
}

/// One process per data folder; the lock goes with the process, however that ends.
fn lock(data: &Path) -> Result<File, Failure> {
    let path = data.join("lock");
    let failed = |error: &dyn std::fmt::Display| {
        let what = format!("{}: {error}", path.display());
        Failure::new(Exit::Invalid, "FS-DEV-FOLDER", what, "choose a writable folder with `--data PATH`")
    };
    let file = File::create(&path).map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            let what = format!("another `flagstop dev` uses {}", data.display());
            Err(Failure::new(
                Exit::Invalid,
                "FS-DEV-BUSY",
                what,
                "stop it, or choose another folder with `--data PATH`",
            ))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(&error)),
    }
}

/// Opens the port. One that nobody asked for by number gives way when it is taken.
async fn listen(http: Option<&str>) -> Result<Option<TcpListener>, Failure> {
    match http {
        Some("off") => Ok(None),
        Some(text) => server::listen(text).await.map(Some),
        None => match TcpListener::bind(server::address(HTTP_DEFAULT)?).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                eprintln!("flagstop dev: {HTTP_DEFAULT} is taken, so a free port is used");
                server::listen(HTTP_FREE).await.map(Some)
            }
            Err(error) => Err(server::no_port(HTTP_DEFAULT, &error)),
        },
    }
}

/// The demonstration holds the other end: when that is gone, so is the reason to run.
async fn input_closed() {
    let mut rest = [0; 64];
    let mut input = tokio::io::stdin();
    while input.read(&mut rest).await.is_ok_and(|n| n > 0) {}
}
