//! The secrets that definitions may name in `use.secrets`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use flagstop_engine::api::Value;
use flagstop_engine::value;

/// Secrets by name. Never printed, never stored.
#[derive(Clone, Default)]
pub struct Secrets {
    pub(crate) by_name: BTreeMap<String, Value>,
    /// Where they were read, and how that looked.
    from: Option<(PathBuf, Stamp)>,
}

/// How files look from outside: if any of it changes, so may what is in them.
type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Secrets {
    /// No secrets.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The secrets by name.
    #[must_use]
    pub fn by_name(&self) -> &BTreeMap<String, Value> {
        &self.by_name
    }

    /// Reads an object of secrets from a JSON or YAML file, or one secret per file from a directory: the file's name is
    /// the secret's, its text the value, parsed when it is JSON.
    ///
    /// # Errors
    /// Says which file can't be read, and why; never shows what is in it.
    pub fn load(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let failed = |e: std::io::Error| format!("secrets {shown}: {e}");
        // Looked at first: what changes meanwhile is read again.
        let from = Some((path.to_owned(), stamp(path)));
        if !path.is_dir() {
            let text = std::fs::read(path).map_err(failed)?;
            // The reader's own messages quote the text, which must not be shown.
            let node = flagstop_engine::source::read(&text, &flagstop_engine::Limits::default())
                .map_err(|_| format!("secrets {shown}: neither JSON nor YAML; check it with a YAML linter"))?;
            let value = value::from_node(&node);
            if !matches!(value, Value::Obj(_)) {
                return Err(format!("secrets {shown}: must be an object of names"));
            }
            let named = value::entries(&value).map(|(name, secret)| (name.to_owned(), secret.clone()));
            return Ok(Self { by_name: named.collect(), from });
        }
        let mut by_name = BTreeMap::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let Some(name) = file.file_name().and_then(|n| n.to_str()).filter(|n| !n.starts_with('.')) else {
                continue;
            };
            if !file.is_file() {
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(|e| format!("secret {}: {e}", file.display()))?;
            let value = value::parse_json(text.as_bytes(), &flagstop_engine::Limits::default())
                .unwrap_or_else(|_| value::string(text.trim_end_matches('\n')));
            by_name.insert(name.to_owned(), value);
        }
        Ok(Self { by_name, from })
    }
}

fn stamp(path: &Path) -> Stamp {
    let files = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let look = |file: PathBuf| {
        let metadata = std::fs::metadata(&file).ok();
        let changed = metadata.as_ref().and_then(|it| it.modified().ok());
        (file, changed, metadata.map_or(0, |it| it.len()))
    };
    let mut stamp: Stamp = files.chain([path.to_owned()]).map(look).collect();
    stamp.sort();
    stamp
}

/// A worker's secrets, which are read again when their files change (PROTOCOL "Secrets").
pub(crate) struct LiveSecrets {
    current: RwLock<Arc<Secrets>>,
    /// How the files looked when it was last said that they can't be read.
    told: Mutex<Option<Stamp>>,
}

impl LiveSecrets {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { current: RwLock::new(Arc::new(secrets)), told: Mutex::default() }
    }

    /// As they are now. A batch keeps to what it began with.
    pub(crate) fn current(&self) -> Arc<Secrets> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them again if their files look different. What can't be read leaves the old ones in force and is tried at each
    /// look: what was in the way (a right, too many open files) may go without a trace at the files.
    pub(crate) fn refresh(&self) {
        let current = self.current();
        let Some((path, known)) = &current.from else { return };
        let now = stamp(path);
        if now == *known {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match Secrets::load(path) {
            Ok(new) => {
                tracing::info!(secrets = new.by_name.len(), "the secrets were read again");
                *told = None;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            }
            // Said once, not at each look.
            Err(_) if told.as_ref() == Some(&now) => {}
            Err(why) => {
                tracing::error!(
                    "the secrets have changed and can't be read, the old ones stay and it is tried again: {why}"
                );
                *told = Some(now);
            }
        }
    }
}
