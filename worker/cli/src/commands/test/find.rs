//! Finds test files.

use std::path::{Path, PathBuf};

use flagstop_engine::{Diagnostic, Diagnostics, Span};
use flagstop_solo::kit::{FileReport, Invalid, Source};

use crate::exit::{Exit, Failure};

/// Endings of test files.
const ENDINGS: [&str; 3] = [".test.yaml", ".test.yml", ".test.json"];

/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 32;

/// The test files below these paths, in order, and reports on those that can't be read.
pub fn sources(paths: &[PathBuf]) -> Result<(Vec<Source>, Vec<FileReport>), Failure> {
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            walk(path, DEPTH_MAX, &mut files, &mut unreadable);
            if files.len() == before {
                let what = format!("there is no test file in {}", path.display());
                let hint = "test files are named `*.test.yaml`; name one, or the folder that holds them";
                return Err(Failure::new(Exit::Invalid, "FS-TEST-NONE", what, hint));
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut sources: Vec<Source> = Vec::new();
    for file in files {
        let name = file.display().to_string();
        if sources.iter().any(|source| source.name == name) {
            continue;
        }
        match std::fs::read(&file) {
            Ok(text) => sources.push(Source { name, text }),
            Err(error) => unreadable.push(report(&file, &error)),
        }
    }
    Ok((sources, unreadable))
}

fn walk(folder: &Path, levels_left: usize, files: &mut Vec<PathBuf>, unreadable: &mut Vec<FileReport>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return unreadable.push(report(folder, &error)),
    };
    let mut entries: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if levels_left > 0 {
                walk(&path, levels_left - 1, files, unreadable);
            }
        } else if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
}

fn report(path: &Path, error: &std::io::Error) -> FileReport {
    let file = path.display().to_string();
    let found = Diagnostic::error("FS-FILE", Span::start(), format!("it can't be read: {error}"));
    let diagnostics = Diagnostics::from(found.with_hint("name a test file, or a folder of them"));
    let invalid = vec![Invalid { file: file.clone(), text: String::new(), diagnostics }];
    FileReport { file, invalid, cases: Vec::new() }
}
