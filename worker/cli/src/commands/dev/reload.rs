//! Deploys again what is saved while `dev` serves. A file with a mistake shows it, and what was deployed before stays; what no
//! file holds any more is disabled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flagstop_store::port::Store;

use super::presence::{Change, Presence};
use super::revise;
use crate::config::Config;
use crate::definitions;
use crate::exit::Failure;
use crate::term::{Paint, Style};

/// Pause between two looks at the folder. What is saved is taken once it has stayed the same for one of them.
const LOOK: Duration = Duration::from_millis(300);

/// Files that are watched; a folder with more than these is no folder of definitions.
const FILES_MAX: usize = 10_000;

/// Folders in folders that are watched.
const DEPTH_MAX: usize = 8;

/// A folder's files as they are: path, time of the last change, size.
type Shape = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// What is watched, and where it goes.
pub struct Folder<'a> {
    /// The folder.
    pub dir: &'a Path,
    /// Where `dev` itself writes, should that be within.
    pub data: &'a Path,
    /// The configuration.
    pub config: &'a Config,
    /// Where definitions are deployed.
    pub store: Arc<dyn Store>,
}

impl Folder<'_> {
    /// Watches until it is dropped. `seen`: the files as they were when they were deployed.
    pub async fn watch(&self, mut seen: Shape, mut presence: Presence) {
        let mut last = seen.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.shape();
            if now == seen {
                last = now;
            } else if now != last {
                // Somebody is still writing.
                last = now;
            } else {
                seen = now;
                if let Err(failure) = self.reload(&mut presence).await {
                    failure.print();
                    eprintln!("{}", kept());
                }
            }
        }
    }

    /// The files as they are now. What can't be read is not there.
    pub fn shape(&self) -> Shape {
        let mut shape = Vec::new();
        self.walk(self.dir, DEPTH_MAX, &mut shape);
        shape.sort();
        shape
    }

    fn walk(&self, folder: &Path, levels_left: usize, shape: &mut Shape) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let Ok(about) = entry.metadata() else { continue };
            if hidden || path == self.data || shape.len() >= FILES_MAX {
                continue;
            }
            if about.is_file() {
                shape.push((path, about.modified().ok(), about.len()));
            } else if about.is_dir() && levels_left > 0 {
                self.walk(&path, levels_left - 1, shape);
            }
        }
    }

    async fn reload(&self, presence: &mut Presence) -> Result<(), Failure> {
        let files = definitions::in_folder(self.dir)?;
        let checked = definitions::check_whole(&files, self.config, None).await?;
        let here = presence.look(&checked);
        let (whole, broken): (Vec<_>, Vec<_>) =
            checked.into_iter().partition(|file| file.plan.is_some() && file.lacks.is_empty());
        definitions::print(&broken);
        let paint = Paint::stderr();
        for row in revise::deploy(&self.store, &whole).await? {
            let name = format!("{}/{} {}", row.namespace, row.name, row.version);
            let done = paint.on(Style::Good, &format!("reloaded {name}"));
            eprintln!("{done}: new events go to it, running instances stay on what they began with");
        }
        if !broken.is_empty() {
            eprintln!("{}", kept());
        }
        tell(&presence.settle(&self.store, here).await?);
        Ok(())
    }
}

/// Says which definitions came and went with their files.
pub fn tell(change: &Change) {
    let paint = Paint::stderr();
    for name in &change.gone {
        let gone = paint.on(Style::Wait, &format!("disabled {name}"));
        eprintln!("{gone}: no file holds it any more, so it takes no new events; running instances go on");
    }
    for name in &change.back {
        let back = paint.on(Style::Good, &format!("enabled {name}"));
        eprintln!("{back}: a file holds it again, so it takes new events");
    }
}

fn kept() -> String {
    Paint::stderr().on(Style::Wait, "not reloaded: what was deployed before stays until this is mended")
}
