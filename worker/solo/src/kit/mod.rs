//! The author's test kit: `*.test.yaml` on the real engine, in virtual time, with mocked calls and scripted events.
//!
//! ```text
//! text ─ document ─► TestFile ─ stage ─► world, clock, mocks, script ─► Record ─ judge ─► failures
//! ```
//! A case depends on nothing but its text: no clock, no network, no process, no randomness. Cases share nothing but plans.

mod call;
mod difference;
mod document;
mod documents;
mod events;
mod file;
mod judge;
mod matching;
mod mock;
mod model;
mod reader;
mod record;
mod rules;
mod script;
mod stage;

use std::io;
use std::path::{Path, PathBuf};

use flagstop_engine::api::Value;
use flagstop_engine::{Diagnostics, Limits};

pub use crate::world::Kill;
pub use difference::Difference;
pub use file::run_files;

/// How test files are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether every case runs both ways, whatever it says itself.
    pub faults: Faults,
    /// Only cases whose name holds this text.
    pub case: Option<String>,
    /// Cases that run at once.
    pub threads: usize,
    /// The engine's limits.
    pub limits: Limits,
}

/// Which ways a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// As the case says.
    AsWritten,
    /// Without and with a kill after every transition.
    BothWays,
}

/// A test file that is to be run.
#[derive(Debug, Clone)]
pub struct Source {
    /// How it is called in reports.
    pub name: String,
    /// What is in it.
    pub text: Vec<u8>,
}

/// Where the workflows of a test file come from.
pub trait Files: Sync {
    /// A file that the test file `of` names, and how it is called in reports.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self, of: &str, path: &str) -> io::Result<(String, Vec<u8>)>;

    /// The folder of a workflow that was read, where the documents lie that it names relative to itself.
    fn folder(&self, _name: &str) -> Option<PathBuf> {
        None
    }
}

/// Files relative to the test file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

/// What became of one test file.
#[derive(Debug)]
pub struct FileReport {
    /// The test file, as it was named.
    pub file: String,
    /// What is wrong in it, or in its workflows: file by file, with the file's text.
    pub invalid: Vec<Invalid>,
    /// Its cases, in order; the way with a kill after the one without.
    pub cases: Vec<CaseReport>,
}

/// A file that is not what it should be.
#[derive(Debug)]
pub struct Invalid {
    /// Its name.
    pub file: String,
    /// Its text.
    pub text: String,
    /// What is wrong in it.
    pub diagnostics: Diagnostics,
}

/// What became of one case.
#[derive(Debug)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Line of the test file.
    pub line: u32,
    /// Which way it ran.
    pub kill: Kill,
    /// What was expected and is not so; none: it passed.
    pub failures: Vec<Failure>,
    /// What happened, in order: the newest lines, at most [`LOG_LINES_MAX`].
    pub log: Vec<LogLine>,
}

/// Lines of the log that are kept of a case.
pub const LOG_LINES_MAX: usize = 200;

/// One expectation that does not hold.
#[derive(Debug)]
pub struct Failure {
    /// Which: `output`, `requests` …
    pub expectation: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The first places that differ.
    pub differences: Vec<Difference>,
    /// What was expected as a whole.
    pub expected: Option<Value>,
    /// What was found as a whole.
    pub actual: Option<Value>,
}

/// Something that happened in a case.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// Microseconds since the case began.
    pub at_us: i64,
    /// `task completed`, `event`, `request` …
    pub what: String,
    /// A task's pointer, an event's type, a request's method and URL.
    pub subject: String,
    /// Output, error or data as JSON text, cut.
    pub note: String,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            faults: Faults::AsWritten,
            case: None,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            limits: Limits::default(),
        }
    }
}

// === impl Disk ===

impl Files for Disk {
    fn read(&self, of: &str, path: &str) -> io::Result<(String, Vec<u8>)> {
        let folder = Path::new(of).parent().map(PathBuf::from).unwrap_or_default();
        let path = folder.join(path);
        Ok((path.display().to_string(), std::fs::read(&path)?))
    }

    fn folder(&self, name: &str) -> Option<PathBuf> {
        Path::new(name).parent().map(Path::to_owned)
    }
}

// === impl FileReport ===

impl FileReport {
    /// Whether the file and its workflows are what they should be.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}

// === impl CaseReport ===

impl CaseReport {
    /// Whether every expectation holds.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.failures.is_empty()
    }
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(expectation: &'static str, message: impl Into<String>) -> Self {
        Self { expectation, message: message.into(), differences: Vec::new(), expected: None, actual: None }
    }
}
