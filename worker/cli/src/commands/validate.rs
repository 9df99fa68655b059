//! `flagstop validate`: every mistake of every file.

use std::path::{Path, PathBuf};

use clap::Args;
use flagstop_engine::Severity;
use serde_json::json;

use crate::args::Output;
use crate::config::{Config, Flags};
use crate::definitions;
use crate::exit::{Exit, Failure};
use crate::term::print_line;

/// Checks definitions, offline unless told otherwise: the language, the expressions, the references, the targets. Exits 2 when one is wrong.
#[derive(Debug, Args)]
pub struct Validate {
    /// Definition files, folders of them, or patterns such as 'flows/**/*.yaml'
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fetch the documents that the definitions name (schemas, API descriptions, functions) and check these too
    #[arg(long)]
    online: bool,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Exit 2 also when there are only warnings
    #[arg(long)]
    deny_warnings: bool,
}

impl Validate {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let checked = match self.online {
            true => {
                let config = Config::load(&Flags { file, ..Flags::default() })?;
                definitions::check_whole(&self.files, &config, None).await?
            }
            false => definitions::check(&self.files)?,
        };
        let valid = match self.output {
            Output::Table => definitions::print(&checked),
            Output::Json => {
                print_line(&json!({ "files": definitions::json(&checked) }).to_string());
                checked.iter().all(|file| file.plan.is_some())
            }
        };
        if self.output == Output::Table {
            let wrong = checked.iter().filter(|file| file.plan.is_none()).count();
            let warnings =
                checked.iter().flat_map(|f| f.diagnostics.iter()).filter(|d| d.severity == Severity::Warning);
            eprintln!("{} checked, {wrong} invalid, {} warnings", checked.len(), warnings.count());
        }
        let denied = self.deny_warnings && checked.iter().any(|file| !file.diagnostics.is_empty());
        if valid && !denied { Ok(()) } else { Err(Failure::shown(Exit::Invalid)) }
    }
}
