//! Our own scenarios of the language: `tests/language/*.yaml`, each entry some workflows in place and the cases on them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::scenario::{self, Scenario};

/// What stands before a workflow that says nothing of its own document.
const HEADER: &str = "document: { dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0' }\n";

/// The scenarios of one file.
pub fn scenarios(path: &Path) -> Vec<Scenario> {
    let text = std::fs::read_to_string(path).unwrap();
    let entries = scenario::yaml(&path.display().to_string(), &text);
    entries.as_array().expect("a list of scenarios").iter().map(one).collect()
}

/// The workflows of all scenarios, with their names.
pub fn workflows() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in files(&root().join("tests/language"), ".yaml") {
        for scenario in scenarios(&path) {
            found
                .extend(scenario.workflows.into_iter().map(|(file, text)| (format!("{}/{file}", scenario.name), text)));
        }
    }
    found
}

/// The files of a folder with this ending, by name.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    paths
}

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn one(entry: &Value) -> Scenario {
    let keys = ["name", "workflow", "workflows", "cases"];
    let object = entry.as_object().expect("a scenario is a mapping");
    assert!(object.keys().all(|key| keys.contains(&key.as_str())), "unknown key in {entry}");
    let name = entry["name"].as_str().expect("a scenario has a name").to_owned();
    let workflows = match (&entry["workflow"], entry["workflows"].as_object()) {
        (Value::String(text), None) => vec![("flow.yaml".to_owned(), with_header(text))],
        (Value::Null, Some(several)) => in_order(several),
        _ => panic!("`{name}` needs `workflow` or `workflows`"),
    };
    Scenario { name, workflows, cases: entry["cases"].clone() }
}

/// The one that is started first, whatever order the reader gives.
fn in_order(several: &serde_json::Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: &Value| with_header(value.as_str().expect("a workflow is a text"));
    let mut found: Vec<_> = several.iter().map(|(file, value)| (file.clone(), text(value))).collect();
    found.sort_by_key(|(file, _)| file != "parent.yaml");
    found
}

fn with_header(text: &str) -> String {
    if text.starts_with("document:") { text.to_owned() } else { format!("{HEADER}{text}") }
}

/// The page that says which test shows what, below the project's root.
pub const PAGE: &str = "docs/language.md";

/// A row of one of the page's tables.
#[derive(Debug)]
pub struct Row {
    /// A key, or the question that a decision answers.
    pub key: String,
    /// The tests that show it.
    pub tests: Vec<String>,
}

/// The rows of the tables of keys: the first cell is the key, in backticks.
pub fn keys(page: &str) -> Vec<Row> {
    rows(page, "## Keys")
}

/// The rows of the table of decisions.
pub fn decisions(page: &str) -> Vec<Row> {
    rows(page, "## Decisions")
}

/// All tests of the project, as [`plain`] writes them: Rust's by their names, scenarios and cases by theirs.
pub fn test_names() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["schemas", "bus-adapters", "worker", "tests", "examples"] {
        collect(&root().join(folder), &mut found);
    }
    found
}

/// Words joined by underscores, so that a sentence and a function's name compare equal.
pub fn plain(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

fn rows(page: &str, heading: &str) -> Vec<Row> {
    let section = page.split("\n## ").find(|section| heading.ends_with(section.lines().next().unwrap_or_default()));
    let lines =
        section.unwrap_or_else(|| panic!("no `{heading}` in {PAGE}")).lines().filter(|line| line.starts_with("| "));
    lines.filter(|line| !line.ends_with("shown by |")).filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let tests = cells.last()?.split('·').map(|test| test.trim().to_owned());
    Some(Row { key: cells[0].trim_matches('`').to_owned(), tests: tests.filter(|test| !test.is_empty()).collect() })
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending {
            _ if path.is_dir() => collect(&path, found),
            "rs" => {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut parts = text.split("test]").skip(1).filter_map(|rest| rest.split_once("fn "));
                found.extend(parts.by_ref().filter_map(|(_, rest)| rest.split_once('(')).map(|(name, _)| plain(name)));
            }
            "yaml" => {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("- name: "));
                found.extend(names.map(plain));
            }
            _ => {}
        }
    }
}
