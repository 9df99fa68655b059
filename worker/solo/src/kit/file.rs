//! Test files: their workflows, and their cases side by side.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flagstop_engine::{Diagnostic, Diagnostics, Limits, Plan, Severity};

use super::judge::judge;
use super::model::{Case, InvalidAt, TestFile};
use super::{CaseReport, Failure, Faults, FileReport, Files, Invalid, Kill, Options, Source, document, stage};

/// Bytes of stack of a thread that runs cases: the engine's own limit on recursion lies far below.
const STACK_BYTES: usize = 8 << 20;

/// A test file that is read, and its workflows.
struct Loaded {
    name: String,
    cases: Vec<Case>,
    compiled: Vec<Workflow>,
    /// What is wrong in the test file itself.
    own: Option<Invalid>,
    /// What is wrong in its workflows.
    workflows: Vec<Invalid>,
}

/// A workflow that compiles.
pub(super) struct Workflow {
    pub(super) name: String,
    pub(super) text: Vec<u8>,
    pub(super) folder: Option<PathBuf>,
    pub(super) plan: Arc<Plan>,
}

/// One case that is to be run, one way.
struct Job<'l> {
    loaded: &'l Loaded,
    case: &'l Case,
    kill: Kill,
}

/// Runs test files: all their cases at once, reports in the order of the files.
#[must_use]
pub fn run_files(sources: &[Source], files: &dyn Files, options: &Options) -> Vec<FileReport> {
    let loaded: Vec<Loaded> = sources.iter().map(|source| Loaded::read(source, files, &options.limits)).collect();
    let jobs: Vec<Job<'_>> = loaded.iter().flat_map(|loaded| loaded.jobs(options)).collect();
    let mut reports = run_jobs(&jobs, options).into_iter();
    let counts: Vec<usize> = loaded.iter().map(|loaded| loaded.jobs(options).len()).collect();
    drop(jobs);
    let report = |(loaded, count): (Loaded, usize)| {
        let cases = reports.by_ref().take(count).collect();
        let is_expected = loaded.cases.iter().all(|case| case.expect.invalid.is_some());
        let workflows = loaded.workflows.into_iter().filter(|_| !is_expected);
        FileReport { file: loaded.name, invalid: loaded.own.into_iter().chain(workflows).collect(), cases }
    };
    loaded.into_iter().zip(counts).map(report).collect()
}

fn run_jobs(jobs: &[Job<'_>], options: &Options) -> Vec<CaseReport> {
    let reports: Mutex<Vec<(usize, CaseReport)>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { return };
            let report = job.run(&options.limits);
            reports.lock().unwrap_or_else(PoisonError::into_inner).push((number, report));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, jobs.len().max(1)) {
            let started = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
            if started.is_err() {
                // No more threads are to be had: this one does it.
                work();
            }
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_unstable_by_key(|(number, _)| *number);
    reports.into_iter().map(|(_, report)| report).collect()
}

impl Loaded {
    fn read(source: &Source, files: &dyn Files, limits: &Limits) -> Self {
        let mut loaded = Self {
            name: source.name.clone(),
            cases: Vec::new(),
            compiled: Vec::new(),
            own: None,
            workflows: Vec::new(),
        };
        match document::read(&source.text, limits) {
            Ok(file) => loaded.compile(file, source, files, limits),
            Err(diagnostics) => loaded.own = Some(Invalid::new(&source.name, &source.text, diagnostics)),
        }
        loaded
    }

    fn compile(&mut self, file: TestFile, source: &Source, files: &dyn Files, limits: &Limits) {
        let mut missing = Diagnostics::new();
        for (path, span) in &file.workflows {
            let (name, text) = match files.read(&source.name, path) {
                Ok(read) => read,
                Err(error) => {
                    let message = format!("the workflow `{path}` can't be read: {error}");
                    let hint = "name it relative to the folder of this file";
                    missing.push(Diagnostic::error("FS-FILE", *span, message).with_hint(hint));
                    continue;
                }
            };
            match Plan::compile(&text, limits) {
                Ok(plan) => match self.compiled.iter().find(|other| other.plan.reference() == plan.reference()) {
                    None => {
                        let folder = files.folder(&name);
                        self.compiled.push(Workflow { name, text, folder, plan: Arc::new(plan) });
                    }
                    Some(_) => {
                        let message = format!("`{path}` has the name and version of another workflow of this list");
                        let hint = "name each workflow once, or raise `document.version`";
                        missing.push(Diagnostic::error("FS-DUPLICATE-NAME", *span, message).with_hint(hint));
                    }
                },
                Err(diagnostics) => self.workflows.push(Invalid::new(&name, &text, diagnostics)),
            }
        }
        if missing.is_empty() {
            self.cases = file.cases;
        } else {
            self.own = Some(Invalid::new(&source.name, &source.text, missing));
        }
    }

    fn jobs(&self, options: &Options) -> Vec<Job<'_>> {
        let mut jobs = Vec::new();
        for case in &self.cases {
            let is_wanted = options.case.as_ref().is_none_or(|wanted| case.name.contains(wanted.as_str()));
            let can_run = self.workflows.is_empty() || case.expect.invalid.is_some();
            if !is_wanted || !can_run {
                continue;
            }
            let ways: &[Kill] = match options.faults {
                Faults::BothWays if case.expect.invalid.is_none() => &[Kill::Never, Kill::EveryCommit],
                _ => std::slice::from_ref(&case.kill),
            };
            jobs.extend(ways.iter().map(|kill| Job { loaded: self, case, kill: *kill }));
        }
        jobs
    }
}

impl Job<'_> {
    fn run(&self, limits: &Limits) -> CaseReport {
        let mut report = CaseReport {
            name: self.case.name.clone(),
            line: self.case.line,
            kill: self.kill,
            failures: Vec::new(),
            log: Vec::new(),
        };
        if let Some(invalid) = &self.case.expect.invalid {
            report.failures.extend(judge_invalid(invalid, &self.loaded.workflows));
            return report;
        }
        // A panic is a defect of Flagstop; the other cases shall run all the same.
        let run = || stage::run(self.case, &self.loaded.compiled, self.kill, limits);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok((found, failures)) => {
                report.failures = failures;
                // What stopped early can't be judged.
                if report.failures.is_empty() {
                    report.failures = judge(&self.case.expect, &found, limits);
                }
                report.log = found.record.log.into();
            }
            Err(_) => report.failures.push(Failure::new("status", "Flagstop itself failed; please report this")),
        }
        report
    }
}

impl Invalid {
    fn new(file: &str, text: &[u8], diagnostics: Diagnostics) -> Self {
        Self { file: file.to_owned(), text: String::from_utf8_lossy(text).into_owned(), diagnostics }
    }
}

fn judge_invalid(wanted: &InvalidAt, workflows: &[Invalid]) -> Option<Failure> {
    let errors: Vec<(&Invalid, &Diagnostic)> = workflows
        .iter()
        .flat_map(|workflow| workflow.diagnostics.iter().map(move |found| (workflow, found)))
        .filter(|(_, found)| found.severity == Severity::Error)
        .collect();
    // As it is shown, with the line that it is about.
    let says = |workflow: &Invalid, found: &Diagnostic, text: &str| {
        Diagnostics::from(found.clone()).render(&workflow.file, &workflow.text).contains(text)
    };
    let fits = |(workflow, found): &&(&Invalid, &Diagnostic)| {
        wanted.line.is_none_or(|line| line == found.span.line)
            && wanted.text.as_ref().is_none_or(|text| says(workflow, found, text))
    };
    if errors.iter().any(|error| fits(&error)) {
        return None;
    }
    if errors.is_empty() {
        return Some(Failure::new("invalid", "the workflow is valid"));
    }
    let place = wanted.line.map(|line| format!(" in line {line}")).unwrap_or_default();
    let text = wanted.text.as_ref().map(|text| format!(" with the text `{text}`")).unwrap_or_default();
    let found: Vec<String> = errors
        .iter()
        .map(|(_, found)| format!("line {}: {}: {}", found.span.line, found.code, found.message))
        .collect();
    Some(Failure::new("invalid", format!("no mistake{place}{text} is found, but {}", found.join("; "))))
}
