//! What the language has and this build can't run: definitions with it are checked like all others, with a warning, and a
//! task that comes to it faults.

use crate::diagnostic::Diagnostic;
use crate::plan::compiler::Compiler;
use crate::problem::{Problem, ProblemKind};
use crate::source::Span;

/// Stands in for a model.
#[derive(Debug)]
pub(super) struct Unrunnable {
    what: &'static str,
}

impl Unrunnable {
    /// `what` goes after "this build cannot".
    pub(super) fn new(what: &'static str, span: Span, compiler: &mut Compiler<'_>) -> Self {
        let message = format!("this build cannot {what}: a task that comes to it faults");
        let hint = "it is part of the language and comes with a later build";
        compiler.push(Diagnostic::warning("FS-NOT-RUNNABLE", span, message).with_hint(hint));
        Self { what }
    }

    pub(super) fn fault(&self) -> Problem {
        Problem::new(ProblemKind::Configuration, format!("this build cannot {}", self.what), "")
    }
}
