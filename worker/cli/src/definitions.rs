//! Definition files: finding, reading and checking them, all mistakes of all files at once.

use std::path::{Path, PathBuf};

use flagstop_effects::resources::{self, Network, Place, Sources};
use flagstop_engine::diagnostic::Part;
use flagstop_engine::{Bundle, Diagnostic, Diagnostics, Limits, Plan, Severity};
use serde_json::{Value, json};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::globs;
use crate::node;
use crate::term::{Paint, Style};

/// Endings of files that may hold a definition.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// One checked file.
#[derive(Debug)]
pub struct Checked {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub source: Vec<u8>,
    /// The plan, when it compiles.
    pub plan: Option<Plan>,
    /// The documents that it names, as far as they were fetched.
    pub bundle: Bundle,
    /// Those that could not be fetched, each with why.
    pub lacks: Vec<String>,
    /// What is wrong, and what is only odd.
    pub diagnostics: Diagnostics,
}

/// Reads and compiles; a directory stands for the definitions in it, a pattern for the files that it fits.
pub fn check(paths: &[PathBuf]) -> Result<Vec<Checked>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = in_folder(path)?;
            if found.is_empty() {
                let what = format!("there is no definition in {}", path.display());
                let hint = "name a definition, the folder that holds some, or a pattern like 'folder/**/*.yaml'";
                return Err(Failure::new(Exit::Invalid, "FS-FILE", what, hint));
            }
            files.extend(found);
        } else if !path.exists() && globs::is_pattern(path) {
            let found: Vec<PathBuf> = globs::expand(path).into_iter().filter(|found| is_definition(found)).collect();
            if found.is_empty() {
                let what = format!("no definition fits {}", path.display());
                return Err(Failure::new(
                    Exit::Invalid,
                    "FS-FILE",
                    what,
                    "`*` stands for a part of a name, `**` for folders",
                ));
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    files.into_iter().map(one).collect()
}

/// Like [`check`], with all documents that the definitions name: functions of catalogs, schemas, API descriptions. So a
/// deployed definition is whole (PROTOCOL D6).
pub async fn check_whole(paths: &[PathBuf], config: &Config, catalog: Option<&str>) -> Result<Vec<Checked>, Failure> {
    let (http, client) = node::http(config)?;
    let secrets = node::secrets(config)?;
    let mut whole = Vec::new();
    for mut file in check(paths)? {
        let sources = Sources {
            place: Place::of_file(&file.path),
            default_catalog: catalog.map(str::to_owned),
            network: Network::Online(&http, &client),
            secrets: secrets.by_name(),
        };
        if file.plan.as_ref().is_some_and(|plan| !plan.missing().is_empty()) {
            match resources::load(&file.source, &sources, &config.worker.engine).await {
                Ok(loaded) => {
                    file.diagnostics = loaded.plan.warnings().iter().cloned().collect();
                    file.lacks = loaded.failures.iter().map(ToString::to_string).collect();
                    (file.plan, file.bundle) = (Some(loaded.plan), loaded.bundle);
                }
                Err(diagnostics) => (file.plan, file.diagnostics) = (None, diagnostics),
            }
        }
        whole.push(file);
    }
    Ok(whole)
}

/// By its name: a test file is none.
fn is_definition(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let is_test = path.file_stem().and_then(|s| s.to_str()).is_some_and(|stem| stem.ends_with(".test"));
    ENDINGS.contains(&ending) && !is_test && path.is_file()
}

fn one(path: PathBuf) -> Result<Checked, Failure> {
    let source = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
    let (plan, diagnostics) = match Plan::compile(&source, &Limits::default()) {
        Ok(plan) => {
            let warnings = plan.warnings().iter().cloned().collect();
            (Some(plan), warnings)
        }
        Err(diagnostics) => (None, diagnostics),
    };
    Ok(Checked { path, source, plan, bundle: Bundle::default(), lacks: Vec::new(), diagnostics })
}

/// The definitions of a folder, by name: its YAML and JSON files that have a `document`, test files aside.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        if !is_definition(&path) {
            continue;
        }
        let source = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        if looks_like_a_definition(&String::from_utf8_lossy(&source)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// By its text, so that a definition with a mistake still counts as one and is reported.
fn looks_like_a_definition(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("document:")) || text.contains("\"document\"")
}

/// Prints the diagnostics for people, on standard error. Tells whether all files compile.
pub fn print(checked: &[Checked]) -> bool {
    for file in checked {
        let text = String::from_utf8_lossy(&file.source);
        eprint!("{}", render(&file.diagnostics, &file.path.display().to_string(), &text, Paint::stderr()));
        for lack in &file.lacks {
            eprintln!("{}: {lack}", file.path.display());
        }
    }
    checked.iter().all(|file| file.plan.is_some() && file.lacks.is_empty())
}

/// The diagnostics of one file for people.
pub fn render(diagnostics: &Diagnostics, file: &str, text: &str, paint: Paint) -> String {
    diagnostics.render_with(file, text, &|part, shown| {
        let style = match part {
            Part::Place => Style::Name,
            Part::Error | Part::Caret => Style::Bad,
            Part::Warning => Style::Wait,
            Part::Hint => Style::Hint,
        };
        paint.on(style, shown)
    })
}

/// The files with their diagnostics, for programs.
pub fn json(checked: &[Checked]) -> Value {
    let file = |file: &Checked| {
        let shown = file.path.display().to_string();
        json!({
            "file": shown,
            "valid": file.plan.is_some(),
            "diagnostics": diagnostics_json(&file.diagnostics, &shown),
        })
    };
    checked.iter().map(file).collect()
}

/// The diagnostics of one file, for programs.
pub fn diagnostics_json(diagnostics: &Diagnostics, file: &str) -> Vec<Value> {
    let diagnostic = |d: Diagnostic| {
        json!({
            "code": d.code,
            "severity": match d.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "file": file,
            "line": d.span.line.max(1),
            "column": d.span.column.max(1),
            "message": d.message,
            "hint": d.hint,
        })
    };
    diagnostics.clone().sorted().into_iter().map(diagnostic).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("{}: {error}", path.display());
    Failure::new(Exit::Invalid, "FS-FILE", what, "name a readable definition file, or a folder of them")
}

#[cfg(test)]
mod tests {
    use super::looks_like_a_definition;

    #[test]
    fn a_definition_is_known_by_its_document() {
        assert!(looks_like_a_definition("# x\ndocument:\n  dsl: 1.0.3\n"));
        assert!(looks_like_a_definition("{ \"document\": {} }"));
        assert!(!looks_like_a_definition("steps:\n  document: x\n"));
    }
}
