//! Test files and workflows as texts, run by the kit.

use std::collections::BTreeMap;
use std::io;

use flagstop_solo::kit::{Faults, FileReport, Files, Options, Source, run_files};

/// Workflows by name.
pub struct Texts(pub BTreeMap<String, String>);

impl Files for Texts {
    fn read(&self, _: &str, path: &str) -> io::Result<(String, Vec<u8>)> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok((path.to_owned(), text.clone().into_bytes()))
    }
}

/// A definition with this rest, named `flow`.
pub fn definition(rest: &str) -> String {
    named("flow", rest)
}

pub fn named(name: &str, rest: &str) -> String {
    format!("document: {{ dsl: '1.0.3', namespace: test, name: {name}, version: '1.0.0' }}\n{rest}")
}

/// Runs a test file's `cases` on one workflow, both ways.
pub fn report(workflow: &str, cases: &str) -> FileReport {
    report_of(
        &[("flow.yaml", &definition(workflow))],
        &format!("workflows: [flow.yaml]\ncases:\n{cases}"),
        Faults::BothWays,
    )
}

pub fn report_of(workflows: &[(&str, &str)], test: &str, faults: Faults) -> FileReport {
    let texts = workflows.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let source = Source { name: "flow.test.yaml".to_owned(), text: test.as_bytes().to_vec() };
    let options = Options { faults, threads: 1, ..Options::default() };
    run_files(&[source], &Texts(texts), &options).remove(0)
}

/// Everything passes, with and without kills.
#[track_caller]
pub fn passes(workflow: &str, cases: &str) {
    all_pass(&report(workflow, cases));
}

#[track_caller]
pub fn all_pass(report: &FileReport) {
    let mistakes = report.invalid.iter().map(|it| it.diagnostics.render(&it.file, &it.text));
    assert!(report.is_valid(), "{}", mistakes.collect::<String>());
    assert!(!report.cases.is_empty());
    for case in &report.cases {
        assert!(case.has_passed(), "{} ({:?}): {:#?}\n{:#?}", case.name, case.kill, case.failures, case.log);
    }
}

/// Every case fails, and each failure's expectation and message are these.
#[track_caller]
pub fn fails(workflow: &str, cases: &str, wanted: &[(&str, &str)]) {
    let report = report(workflow, cases);
    assert!(report.is_valid(), "{:?}", report.invalid);
    for case in &report.cases {
        let found: Vec<(&str, &str)> =
            case.failures.iter().map(|failure| (failure.expectation, failure.message.as_str())).collect();
        assert_eq!(found, wanted, "{} ({:?})", case.name, case.kill);
    }
}

/// The mistakes of a test file, one line each: `line:column CODE message`.
pub fn mistakes(report: &FileReport) -> Vec<String> {
    let of = |invalid: &flagstop_solo::kit::Invalid| {
        let lines = invalid.diagnostics.iter().map(|found| {
            format!("{}:{}:{} {} {}", invalid.file, found.span.line, found.span.column, found.code, found.message)
        });
        lines.collect::<Vec<_>>()
    };
    report.invalid.iter().flat_map(of).collect()
}
