//! Test files that stand in memory: scenarios of whatever origin become documents of the test kit and run there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use flagstop_engine::{Limits, read_document, value};
use flagstop_solo::kit::{self, Faults, FileReport, Files, Kill, Options, Source};
use serde_json::{Value, json};

/// Some workflows and the cases that are run on them.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub name: String,
    /// The workflows by file name; the first is started.
    pub workflows: Vec<(String, String)>,
    /// Cases as the test kit has them.
    pub cases: Value,
}

/// The workflows of all scenarios, by scenario and file name.
struct Memory(BTreeMap<(String, String), String>);

impl Files for Memory {
    fn read(&self, of: &str, path: &str) -> io::Result<(String, Vec<u8>)> {
        let text = self.0.get(&(of.to_owned(), path.to_owned()));
        let text = text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such workflow in the scenario"))?;
        Ok((format!("{of} / {path}"), text.clone().into_bytes()))
    }
}

/// Runs them both ways and gives one text per scenario that does not do what it should.
pub fn failures(scenarios: &[Scenario]) -> Vec<String> {
    let mut files = BTreeMap::new();
    let mut sources = Vec::new();
    for scenario in scenarios {
        for (file, text) in &scenario.workflows {
            files.insert((scenario.name.clone(), file.clone()), text.clone());
        }
        let names: Vec<&String> = scenario.workflows.iter().map(|(file, _)| file).collect();
        let document = json!({ "workflows": names, "cases": scenario.cases });
        sources.push(Source { name: scenario.name.clone(), text: document.to_string().into_bytes() });
    }
    let options = Options { faults: Faults::BothWays, ..Options::default() };
    let reports = kit::run_files(&sources, &Memory(files), &options);
    assert_eq!(reports.len(), scenarios.len(), "one report per scenario");
    reports.iter().filter_map(shown).collect()
}

/// Fails with everything that went wrong.
#[track_caller]
pub fn assert_all_pass(what: &str, scenarios: &[Scenario]) {
    let failures = failures(scenarios);
    let (all, bad) = (scenarios.len(), failures.len());
    assert!(failures.is_empty(), "{what}: {bad} of {all} fail\n\n{}", failures.join("\n"));
}

/// A YAML text as JSON.
#[track_caller]
pub fn yaml(name: &str, text: &str) -> Value {
    match read_document(text.as_bytes(), &Limits::default()) {
        Ok(found) => value::to_serde(&found),
        Err(diagnostics) => panic!("{}", diagnostics.render(name, text)),
    }
}

fn shown(report: &FileReport) -> Option<String> {
    let mut text = String::new();
    for invalid in &report.invalid {
        let _ = writeln!(text, "{}", invalid.diagnostics.render(&invalid.file, &invalid.text));
    }
    for case in report.cases.iter().filter(|case| !case.has_passed()) {
        let way = if case.kill == Kill::Never { "" } else { ", killed after every commit" };
        let _ = writeln!(text, "  {}{way}", case.name);
        for failure in &case.failures {
            let _ = writeln!(text, "    {}: {}", failure.expectation, failure.message);
            for (label, value) in [("expected", &failure.expected), ("actual", &failure.actual)] {
                if let Some(value) = value {
                    let _ = writeln!(text, "      {label}: {}", value::to_json(value));
                }
            }
        }
        for line in &case.log {
            let _ = writeln!(text, "        {} {} {}", line.what, line.subject, line.note);
        }
    }
    if report.cases.is_empty() && report.invalid.is_empty() {
        let _ = writeln!(text, "  no case ran");
    }
    (!text.is_empty()).then(|| format!("{}\n{text}", report.file))
}
