//! How the program ends: one list of exit codes, one kind of failure, printed in one place (`main`).

use std::fmt;

use flagstop_bus::port::BusError;
use flagstop_store::port::StoreError;

use crate::term::{Paint, Style};

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done or completed.
    Done = 0,
    /// Faulted, or a check failed.
    Failed = 1,
    /// An invalid definition, input, argument or configuration.
    Invalid = 2,
    /// Stopped before its end.
    Stopped = 3,
    /// The instance was cancelled.
    Cancelled = 4,
    /// Store or bus not reachable.
    Unreachable = 5,
    /// No such instance, definition or letter.
    NotFound = 6,
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    /// What `main` prints; `None` when the command has shown it already (a list of diagnostics, say).
    report: Option<Report>,
}

#[derive(Debug)]
struct Report {
    code: String,
    what: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with its stable code, what is wrong, and how to mend it.
    pub fn new(exit: Exit, code: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        let report = Report { code: code.into(), what: what.into(), hint: Some(hint.into()) };
        Self { exit, report: Some(report) }
    }

    /// A failure whose text is `FS-CODE: what`, as the ports' errors print themselves.
    pub fn coded(exit: Exit, text: &str, hint: impl Into<Option<String>>) -> Self {
        let (code, what) = match text.split_once(": ") {
            Some((code, what)) if code.starts_with("FS-") => (code, what),
            _ => ("FS-FAILED", text),
        };
        Self { exit, report: Some(Report { code: code.into(), what: what.into(), hint: hint.into() }) }
    }

    /// What is wrong and how to mend it, for a list of failures.
    pub fn one_line(&self) -> String {
        match self.report.as_ref().and_then(|report| report.hint.as_ref()) {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }

    /// The command has already shown all there is to say.
    pub fn shown(exit: Exit) -> Self {
        Self { exit, report: None }
    }

    /// Prints itself, once.
    pub fn print(&self) {
        let Some(report) = &self.report else { return };
        let paint = Paint::stderr();
        eprintln!("{}: {}", paint.on(Style::Bad, &format!("error[{}]", report.code)), report.what);
        if let Some(hint) = &report.hint {
            eprintln!("  {}: {hint}", paint.on(Style::Hint, "hint"));
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.report {
            Some(report) => write!(f, "{}: {}", report.code, report.what),
            None => write!(f, "see above"),
        }
    }
}

/// The forms that `--store` takes.
pub const STORE_FORMS: &str = "give `sqlite:PATH` or `postgres://user:password@host:5432/database`";

/// The forms that `--bus` takes.
pub const BUS_FORMS: &str =
    "give `amqp://user:password@host:5672`, `kafka://host:9092,host:9092` or, inside one process, `embedded:PATH`";

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            // What is allowed stands in the text already.
            StoreError::Url(_) => Self::coded(Exit::Invalid, &text, None),
            StoreError::Unreachable(_) => Self::coded(
                Exit::Unreachable,
                &text,
                "check that the database runs and that the URL's host, port, user and password are right".to_owned(),
            ),
            StoreError::Schema(_) => {
                Self::coded(Exit::Invalid, &text, "bring it up to date with `flagstop migrate --store URL`".to_owned())
            }
            StoreError::DefinitionConflict { .. } => Self::coded(
                Exit::Invalid,
                &text,
                "raise `document.version`: a deployed version never changes".to_owned(),
            ),
            StoreError::Failed(_) | StoreError::Denied(_) => Self::coded(Exit::Failed, &text, None),
        }
    }
}

/// The bus's texts say by themselves how to mend a URL.
impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        let text = error.to_string();
        match error {
            BusError::Url(_) => Self::coded(Exit::Invalid, &text, None),
            BusError::Unreachable(_) => Self::coded(Exit::Unreachable, &text, None),
            BusError::Topology(_) => Self::coded(
                Exit::Invalid,
                &text,
                "remove or mend the named object, or configure another name for it under [bus]".to_owned(),
            ),
        }
    }
}
