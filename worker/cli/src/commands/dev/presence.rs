//! Which definitions the folder of `dev` holds. One that no file holds any more takes nothing new until a file holds it again;
//! what runs goes on.
//!
//! What was disabled for that is written down beside the data, so that the next `dev` can enable it. Must never touch what came
//! into the store by another way: whatever no file of this folder has held, and what an operator has disabled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flagstop_store::port::{Enabled, Store};
use flagstop_store::rows::{DefinitionNumber, DefinitionRow};
use serde::{Deserialize, Serialize};

use super::revise;
use crate::definitions::Checked;
use crate::exit::{Exit, Failure};

/// Where it is written down, in the data folder.
const FILE: &str = "folder.json";

/// A definition, without the revisions that `dev` counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    namespace: String,
    name: String,
    version: String,
}

/// The definition of each file, by the file's name.
pub type Here = BTreeMap<String, Name>;

/// What is remembered of a folder.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// For which store this holds.
    store: String,
    here: Here,
    /// Disabled, because no file holds them.
    gone: BTreeSet<Name>,
}

/// A folder's memory, and where it is kept.
#[derive(Debug)]
pub struct Presence {
    file: PathBuf,
    memory: Memory,
}

/// What has changed.
#[derive(Debug, Default)]
pub struct Change {
    /// No file holds them any more.
    pub gone: Vec<Name>,
    /// A file holds them again.
    pub back: Vec<Name>,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.namespace, self.name, self.version)
    }
}

impl Name {
    fn of(file: &Checked) -> Option<Self> {
        let it = file.plan.as_ref()?.reference();
        Some(Self { namespace: it.namespace.clone(), name: it.name.clone(), version: it.version.to_string() })
    }

    /// Is this the definition, or a revision of it?
    fn is_of(&self, row: &DefinitionRow) -> bool {
        row.namespace == self.namespace
            && row.name == self.name
            && revise::number(&self.version, &row.version).is_some()
    }
}

impl Presence {
    /// Of a data folder. What is written there of another store, or can't be read, means nothing.
    pub fn read(data: &Path, store: &str) -> Self {
        let file = data.join(FILE);
        let text = std::fs::read(&file).unwrap_or_default();
        let memory = serde_json::from_slice(&text).ok().filter(|memory: &Memory| memory.store == store);
        Self { file, memory: memory.unwrap_or_else(|| Memory { store: store.to_owned(), ..Memory::default() }) }
    }

    /// What the files hold now. One with a mistake holds what it held before.
    pub fn look(&self, checked: &[Checked]) -> Here {
        let held = |file: &Checked| {
            let key = file.path.file_name()?.to_string_lossy().into_owned();
            let name = Name::of(file).or_else(|| self.memory.here.get(&key).cloned())?;
            Some((key, name))
        };
        checked.iter().filter_map(held).collect()
    }

    /// Disables what is gone and enables what is back, and remembers it.
    pub async fn settle(&mut self, store: &Arc<dyn Store>, here: Here) -> Result<Change, Failure> {
        let is: BTreeSet<&Name> = here.values().collect();
        let was: BTreeSet<&Name> = self.memory.here.values().collect();
        let gone: Vec<Name> = was.difference(&is).map(|name| (*name).clone()).collect();
        let back: Vec<Name> = self.memory.gone.iter().filter(|name| is.contains(name)).cloned().collect();
        let change = Change { gone, back };
        if !change.gone.is_empty() || !change.back.is_empty() {
            let (_, rows) = store.definitions(0).await?;
            for (names, to) in [(&change.gone, Enabled::No), (&change.back, Enabled::Yes)] {
                let meant = |row: &&DefinitionRow| {
                    row.enabled != (to == Enabled::Yes) && names.iter().any(|name| name.is_of(row))
                };
                let numbers: Vec<DefinitionNumber> = rows.iter().filter(meant).map(|row| row.number).collect();
                if !numbers.is_empty() {
                    store.enable(&numbers, to).await?;
                }
            }
            self.memory.gone.retain(|name| !change.back.contains(name));
            self.memory.gone.extend(change.gone.iter().cloned());
        }
        self.memory.here = here;
        let text = serde_json::to_vec_pretty(&self.memory).expect("texts are JSON");
        std::fs::write(&self.file, text).map_err(|error| {
            let what = format!("{}: {error}", self.file.display());
            Failure::new(Exit::Invalid, "FS-DEV-FOLDER", what, "choose a writable folder with `--data PATH`")
        })?;
        Ok(change)
    }
}
