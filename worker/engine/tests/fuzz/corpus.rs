//! What is mutated: the project's own examples, scenarios and jq programs.

use std::path::{Path, PathBuf};

use flagstop_engine::{Limits, read_document, value};
use serde_json::Value;

use crate::driver::definition;

const PROGRAMS: &str = include_str!("../jq/cases.tsv");

/// The texts of all examples and of the workflows in our scenarios.
pub fn definitions() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for path in yaml_files(&root.join("examples")) {
        let text = std::fs::read_to_string(path).unwrap();
        found.extend(text.contains("\ndo:").then_some(text));
    }
    for path in yaml_files(&root.join("tests/language")) {
        let scenarios = as_json(&std::fs::read_to_string(path).unwrap()).expect("a list of scenarios");
        for scenario in scenarios.as_array().unwrap() {
            let one = scenario["workflow"].as_str().into_iter();
            let several = scenario["workflows"].as_object().into_iter().flatten().filter_map(|(_, text)| text.as_str());
            let whole = |text: &str| if text.starts_with("document:") { text.to_owned() } else { definition(text) };
            found.extend(one.chain(several).map(whole));
        }
    }
    assert!(found.len() > 100, "the corpus is there");
    found
}

/// jq programs with an input for each.
pub fn programs() -> Vec<(&'static str, &'static str)> {
    let rows = PROGRAMS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let cells = rows.filter_map(|line| line.split_once('\t'));
    cells.filter_map(|(program, rest)| Some((program, rest.split_once('\t')?.0))).collect()
}

/// A YAML text as JSON, if it is one.
pub fn as_json(text: &str) -> Option<Value> {
    read_document(text.as_bytes(), &Limits::default()).ok().map(|found| value::to_serde(&found))
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    // Whatever order the file system gives.
    found.sort();
    found
}
