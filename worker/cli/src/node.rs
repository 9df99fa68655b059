//! Opening and closing of what commands share: the store, the bus, a worker.

use std::path::Path;
use std::sync::Arc;

use flagstop_bus::port::Bus;
use flagstop_effects::http::{Client, Http};
use flagstop_runtime::{Secrets, StartError, Worker};
use flagstop_store::port::{SchemaState, Store};

use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Opens the configured store; its schema may be anything.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    Ok(flagstop_store::open(config.store_url()?, &config.store).await?)
}

/// Opens the configured store and refuses one that `migrate` has not brought up to date.
pub async fn open_current_store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let behind = |why: &str| {
        let hint = format!("type `flagstop migrate --store {}`", crate::config::shown_url(config.store_url()?));
        Err(Failure::new(Exit::Invalid, "FS-STORE-SCHEMA", format!("the schema is behind this build: {why}"), hint))
    };
    // Opening a file makes it; who only looks at a store, or mistypes its name, must not leave one behind.
    if let Some(path) = config.store_url()?.strip_prefix("sqlite:")
        && !Path::new(path.strip_prefix("//").unwrap_or(path)).exists()
    {
        return behind(&format!("there is no file {path}"));
    }
    let store = open_store(config).await?;
    match store.schema().await? {
        SchemaState::Current => Ok(store),
        SchemaState::Behind(why) => behind(&why),
        SchemaState::Ahead(why) => {
            let what = format!("the schema is ahead of this build: {why}");
            Err(Failure::new(Exit::Invalid, "FS-STORE-SCHEMA", what, "use the build that migrated it, or a newer one"))
        }
    }
}

/// Opens the configured bus.
pub async fn open_bus(config: &Config) -> Result<Arc<dyn Bus>, Failure> {
    Ok(flagstop_bus::open(config.bus_url()?, &config.bus).await?)
}

/// What asks the network, as the workers do.
pub fn http(config: &Config) -> Result<(Http, Client), Failure> {
    flagstop_runtime::http(&config.worker).map_err(|why| {
        let hint = "mend `worker.http_allow` and `worker.http_deny`";
        Failure::new(Exit::Invalid, "FS-HTTP-CLIENT", why, hint)
    })
}

/// The configured secrets.
pub fn secrets(config: &Config) -> Result<Secrets, Failure> {
    let Some(path) = &config.secrets else { return Ok(Secrets::none()) };
    Secrets::load(path).map_err(|why| {
        let hint = "`--secrets` names a YAML or JSON file with an object, or a directory with one file per secret";
        Failure::new(Exit::Invalid, "FS-SECRETS", why, hint)
    })
}

/// A running worker with its store and bus.
pub struct Node {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    worker: Worker,
}

impl Node {
    /// Starts a worker.
    pub async fn start(store: Arc<dyn Store>, bus: Arc<dyn Bus>, config: &Config) -> Result<Self, Failure> {
        let secrets = secrets(config)?;
        let worker = Worker::start(store.clone(), bus.clone(), config.worker.clone(), secrets).await?;
        Ok(Self { store, bus, worker })
    }

    /// The worker's id.
    pub fn id(&self) -> String {
        self.worker.id().0.to_string()
    }

    /// The worker's vital signs, for its port.
    pub fn vitals(&self) -> flagstop_runtime::Vitals {
        self.worker.vitals()
    }

    /// What the worker has done so far.
    pub fn counters(&self) -> flagstop_runtime::WorkerCounters {
        self.worker.counters()
    }

    /// Finishes what is under way, gives back what it holds, lets `before_close` use the bus once more, closes all.
    pub async fn stop(self, config: &Config, before_close: impl Future<Output = ()>) {
        self.worker.drain(config.grace).await;
        before_close.await;
        self.bus.close().await;
        self.store.close().await;
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Bus(error) => error.into(),
            error => Self::coded(Exit::Invalid, &error.to_string(), None),
        }
    }
}
