//! The configuration: `flagstop.toml`, then `FLAGSTOP__SECTION__KEY`, then flags.

mod agree;
mod layers;
mod reference;
mod shown;
mod spelling;

use std::path::{Path, PathBuf};
use std::time::Duration;

use flagstop_bus::BusConfig;
use flagstop_runtime::{Options, StatusOptions};
use flagstop_store::StoreConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::exit::{BUS_FORMS, Exit, Failure, STORE_FORMS};
use layers::Layers;
pub use shown::shown_url;

/// Read when it is there and `--config` names no other.
const DEFAULT_FILE: &str = "flagstop.toml";

/// How long a worker may take to finish what is under way, unless configured otherwise.
const GRACE_MS: u64 = 20_000;

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// `store.url`
    store_url: Option<String>,
    /// The other keys of `[store]`.
    pub store: StoreConfig,
    /// `bus.url`
    bus_url: Option<String>,
    /// The other keys of `[bus]`.
    pub bus: BusConfig,
    /// `worker.secrets`: a file or a directory.
    pub secrets: Option<PathBuf>,
    /// `worker.grace_ms`
    pub grace: Duration,
    /// The other keys of `[worker]`, and `[status]`.
    pub worker: Options,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Flags<'a> {
    /// `--config`
    pub file: Option<&'a Path>,
    /// `--store`
    pub store: Option<&'a str>,
    /// `--bus`
    pub bus: Option<&'a str>,
    /// `--secrets`
    pub secrets: Option<&'a Path>,
}

impl Config {
    /// Reads all sources.
    pub fn load(flags: &Flags<'_>) -> Result<Self, Failure> {
        let config = Self::of(&tree(flags)?)
            .map_err(|why| Failure::coded(Exit::Invalid, &format!("FS-CONFIG-VALUE: {why}"), None))?;
        agree::check(&config).map_err(|(what, hint)| Failure::new(Exit::Invalid, "FS-CONFIG-VALUE", what, hint))?;
        Ok(config)
    }

    /// All that is configured, for people and programs: without secrets.
    pub fn shown(flags: &Flags<'_>) -> Result<Value, Failure> {
        Ok(shown::shown(tree(flags)?))
    }

    fn of(tree: &Value) -> Result<Self, String> {
        let (mut store, mut bus, mut worker) = (section(tree, "store"), section(tree, "bus"), section(tree, "worker"));
        let status = typed(section(tree, "status"))?;
        let text = |section: &mut serde_json::Map<String, Value>, key: &str| match section.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let grace_ms = worker.remove("grace_ms").and_then(|ms| ms.as_u64()).ok_or("grace_ms must be a whole number")?;
        let config = Self {
            store_url: text(&mut store, "url"),
            bus_url: text(&mut bus, "url"),
            secrets: text(&mut worker, "secrets").map(PathBuf::from),
            grace: Duration::from_millis(grace_ms),
            store: typed(store)?,
            bus: typed(bus)?,
            worker: Options { status, ..typed(worker)? },
        };
        config.worker.check()?;
        config.store.check()?;
        Ok(config)
    }

    /// The store's URL, which a command needs.
    pub fn store_url(&self) -> Result<&str, Failure> {
        self.store_url.as_deref().ok_or_else(|| {
            let what = "no store is configured";
            Failure::new(Exit::Invalid, "FS-STORE-URL", what, format!("pass `--store URL`: {STORE_FORMS}"))
        })
    }

    /// The bus's URL, which a command needs.
    pub fn bus_url(&self) -> Result<&str, Failure> {
        self.bus_url.as_deref().ok_or_else(|| {
            let what = "no bus is configured";
            Failure::new(Exit::Invalid, "FS-BUS-URL", what, format!("pass `--bus URL`: {BUS_FORMS}"))
        })
    }
}

/// All sources, laid over each other.
fn tree(flags: &Flags<'_>) -> Result<Value, Failure> {
    let mut layers = Layers::new(defaults(), |tree| Config::of(tree).map(|_| ()));
    if let Some((shown, text)) = read(flags.file)? {
        layers.file(&shown, &text)?;
    }
    let variables = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    layers.environment(variables)?;
    layers.flag(["store", "url"], flags.store);
    layers.flag(["bus", "url"], flags.bus);
    layers.flag(["worker", "secrets"], flags.secrets.map(|path| path.display().to_string()));
    Ok(layers.into_tree())
}

/// Every key that can be configured, as Markdown.
///
/// # Errors
/// The keys that nobody has documented.
pub fn reference() -> Result<String, Vec<String>> {
    reference::markdown(&defaults())
}

fn read(file: Option<&Path>) -> Result<Option<(String, String)>, Failure> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.display().to_string(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => Ok(None),
        Err(error) => {
            let what = format!("{}: {error}", path.display());
            Err(Failure::new(Exit::Invalid, "FS-CONFIG-FILE", what, "`--config` must name a readable TOML file"))
        }
    }
}

fn defaults() -> Value {
    let mut tree = json!({
        "store": object(&StoreConfig::default()),
        "bus": object(&BusConfig::default()),
        "worker": object(&Options::default()),
        "status": object(&StatusOptions::default()),
    });
    tree["store"]["url"] = Value::Null;
    tree["bus"]["url"] = Value::Null;
    tree["worker"]["secrets"] = Value::Null;
    tree["worker"]["grace_ms"] = GRACE_MS.into();
    tree
}

/// A section's defaults, its keys in the one spelling that files and variables use.
fn object(section: &impl Serialize) -> Value {
    spelling::ours(&raw(section))
}

fn raw(section: &impl Serialize) -> Value {
    serde_json::to_value(section).expect("configuration is plain data with text keys")
}

fn section(tree: &Value, name: &str) -> serde_json::Map<String, Value> {
    tree[name].as_object().cloned().unwrap_or_default()
}

fn typed<T: DeserializeOwned + Serialize + Default>(section: serde_json::Map<String, Value>) -> Result<T, String> {
    let section = spelling::theirs(&raw(&T::default()), &Value::Object(section));
    serde_json::from_value(section).map_err(|error| error.to_string())
}
