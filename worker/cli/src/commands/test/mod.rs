//! `flagstop test`: the author's test files, in virtual time.

mod find;
mod report;

use std::path::PathBuf;

use clap::Args;
use flagstop_solo::kit::{Disk, Faults, FileReport, Options, run_files};

use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::term::{Paint, print_line};

/// Runs test files on the real engine: time is virtual, calls are mocked, events are scripted. Exits 0 when all cases
/// passed, 1 when some failed, 2 when a test file or a workflow is invalid.
#[derive(Debug, Args)]
pub struct Test {
    /// Test files, or folders in which every `*.test.yaml` is run
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose name holds this text
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Run every case twice: as it is, and with a kill after every transition
    #[arg(long)]
    faults: bool,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Test {
    /// Runs it.
    pub fn run(self) -> Result<(), Failure> {
        let (sources, unreadable) = find::sources(&self.paths)?;
        let faults = if self.faults { Faults::BothWays } else { Faults::AsWritten };
        let options = Options { faults, case: self.case.clone(), ..Options::default() };
        let mut reports = run_files(&sources, &Disk, &options);
        reports.extend(unreadable);
        if let Some(wanted) = self.case.as_ref().filter(|_| reports.iter().all(has_nothing)) {
            let what = format!("no case's name holds `{wanted}`");
            return Err(Failure::new(Exit::Invalid, "FS-TEST-CASE", what, "leave `--case` out to run all of them"));
        }
        match self.output {
            Output::Table => report::print(&reports, Paint::stdout(), Paint::stderr()),
            Output::Json => print_line(&report::json(&reports).to_string()),
        }
        match exit(&reports) {
            Exit::Done => Ok(()),
            exit => Err(Failure::shown(exit)),
        }
    }
}

fn has_nothing(report: &FileReport) -> bool {
    report.is_valid() && report.cases.is_empty()
}

fn exit(reports: &[FileReport]) -> Exit {
    if reports.iter().any(|report| !report.is_valid()) {
        Exit::Invalid
    } else if reports.iter().flat_map(|report| &report.cases).any(|case| !case.has_passed()) {
        Exit::Failed
    } else {
        Exit::Done
    }
}
